# slowlog.c, 6 functions. Here: src/slowlog.rs
slowlogCreateEntry
slowlogFreeEntry
slowlogInit
slowlogPushEntryIfNeeded
slowlogReset
slowlogCommand
