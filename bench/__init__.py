"""Side-by-side measurements on the lab; see README.md."""
