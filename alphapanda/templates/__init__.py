"""What `alphapanda new` writes: text with `$name` where the author's names go."""
