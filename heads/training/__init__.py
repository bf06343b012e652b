"""Training and export: a TOML file and a table of data become a version folder that headserve serves."""
