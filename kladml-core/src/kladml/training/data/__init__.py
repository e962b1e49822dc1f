"""From data in any form to the batches of an epoch, in an order that depends on seed and epoch alone."""
