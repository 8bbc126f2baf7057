/* Links that are fed from a ring, for the tests of the reader: this is no
 * code of Redis. */
#include "ring.h"

typedef struct link {
    ring *backlog;
    long long offset;
    int flags;
} link;

#define LINK_UP (1<<0)

/* Begins a link that has read nothing. */
link *linkCreate(ring *backlog) {
    link *l = malloc(sizeof(*l));
    l->backlog = backlog;
    l->offset = 0;
    l->flags = LINK_UP;
    return l;
}

/* Sends what is left of the history. Returns -1 if the link is not up,
 * or asks for bytes that are gone. */
int linkContinue(link *l, unsigned char *out) {
    long long nread;

    if (!(l->flags & LINK_UP)) return -1;
    nread = ringRead(l->backlog, l->offset, out, 64);
    if (nread < 0) {
        /* What it asks for was overwritten. */
        l->flags &= ~LINK_UP;
        return -1;
    }
    l->offset += nread;
    return 0;
}

/* Greets the other side, whatever the link's state is. */
void linkGreet(link *l) {
    /* A link that is up says who it is, and where it stands. */
    if (l->flags & LINK_UP) {
        linkWrite(l,"HELLO reader");
        linkWrite(l,"OFFSET follows");
        linkFlush(l);
    }
    linkWrite(l,"BYE for now");
}

/* Prints a link, for debugging. */
void linkDebugPrint(link *l) {
    printf("%lld %d\n", l->offset, l->flags);
}
