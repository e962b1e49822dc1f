"""Projects, families and experiments as a tree that is filled where it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Tree

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.style import Style
    from rich.text import Text
    from textual.widgets.tree import TreeNode

Place = tuple[str, ...]
"""The names from a project down; none for the whole workspace."""

_EXPERIMENT = 3


class PlaceTree(Tree[Place]):
    """The places of a workspace; a node gets its children when it is opened first."""

    def __init__(self) -> None:
        super().__init__("all runs", data=(), id="tree")
        self._below: dict[Place, list[Place]] = {}
        self.guide_depth = 2
        self.auto_expand = False
        self.root.expand()

    def show(self, places: Collection[Place]) -> None:
        """Show places; what was opened stays open, and a node that stands alone is opened."""
        known: dict[Place, set[Place]] = {}
        for place in places:
            for depth in range(len(place)):
                known.setdefault(place[:depth], set()).add(place[: depth + 1])
        below = {above: sorted(inside) for above, inside in known.items()}
        if below == self._below:
            return
        self._below = below
        was_open = {node.data for node in self._tree_nodes.values() if node.is_expanded}
        at = self.cursor_node.data if self.cursor_node is not None else ()
        self.root.remove_children()
        self._fill(self.root, was_open)
        self.go_to(at or ())

    def go_to(self, place: Place) -> None:
        """Move the cursor to a place, or to the nearest above it that is shown."""
        node = self.root
        for depth in range(len(place)):
            found = next((child for child in node.children if child.data == place[: depth + 1]), None)
            if found is None:
                break
            node = found
        self.move_cursor(node)

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Place]) -> None:
        """Fill a node that was opened."""
        if not event.node.children:
            self._fill(event.node, set())

    def render_label(self, node: TreeNode[Place], base_style: Style, style: Style) -> Text:
        """Return a name; names may hold what looks like markup."""
        label = super().render_label(node, base_style, style)
        label.no_wrap = True
        return label

    def _fill(self, node: TreeNode[Place], was_open: Collection[Place | None]) -> None:
        inside = self._below.get(node.data or (), [])
        for place in inside:
            from rich.text import Text

            if len(place) == _EXPERIMENT:
                node.add_leaf(Text(place[-1]), data=place)
                continue
            opened = place in was_open or len(inside) == 1
            child = node.add(Text(place[-1]), data=place, expand=opened)
            if opened:
                self._fill(child, was_open)
