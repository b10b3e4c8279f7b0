"""A small numpy model of the task: labels it contradicts, and what more data would bring."""
