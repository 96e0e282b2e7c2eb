"""Tables from files, folders, data sets and objects in memory."""
