"""Who may ask what: keys, what they are for and how often, and what loading by hand takes where there are none."""
