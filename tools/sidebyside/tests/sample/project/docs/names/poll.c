# poll.c, 1 functions. Not ported: nobody waits.
pollWait
