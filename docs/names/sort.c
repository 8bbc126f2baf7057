# sort.c, 4 functions. Here: src/sort.rs
createSortOperation
lookupKeyByPattern
sortCompare
sortCommand
