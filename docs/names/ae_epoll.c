# ae_epoll.c, 7 functions. Here: src/ae.rs
aeApiCreate
aeApiResize
aeApiFree
aeApiAddEvent
aeApiDelEvent
aeApiPoll
aeApiName
