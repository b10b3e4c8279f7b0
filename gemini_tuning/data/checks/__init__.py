"""The parts of `check`: each looks at one thing and yields findings. None changes or drops a row."""
