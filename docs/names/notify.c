# notify.c, 3 functions. Here: src/notify.rs
keyspaceEventsStringToFlags
keyspaceEventsFlagsToString
notifyKeyspaceEvent
