"""Other libraries' loops over this one; each file needs the library that it is named for."""
