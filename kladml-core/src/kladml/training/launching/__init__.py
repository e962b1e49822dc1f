"""Starting the processes of one training and watching over them."""
