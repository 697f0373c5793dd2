"""What lets other libraries' loops use this one; each file needs the library that it is named for."""
