/* A ring of bytes, for the tests of the reader: this is no code of Redis.
 *
 * It keeps the last bytes of a stream, so that somebody who was away for
 * a while can be told what he missed. */
#include <stdlib.h>
#include <string.h>
#include "ring.h"

/* Makes a ring of a size, but of RING_MIN_SIZE at least. */
ring *ringCreate(long long size) {
    ring *r = malloc(sizeof(*r));

    if (size < RING_MIN_SIZE) size = RING_MIN_SIZE;
    r->buf = malloc(size);
    r->size = size;
    r->histlen = 0;
    r->idx = 0;
    return r;
}

/* Gives back the memory of a ring. */
void ringFree(ring *r) {
    free(r->buf);
    free(r);
}

/* Appends bytes, over the oldest ones if there is no room. */
void ringFeed(ring *r, const unsigned char *p, long long len) {
    while (len > 0) {
        long long thislen = r->size - r->idx;
        if (thislen > len) thislen = len;
        memcpy(r->buf + r->idx, p, thislen);

        /* Go on at the start when the end is reached. */
        r->idx += thislen;
        if (r->idx == r->size) r->idx = 0;

        len -= thislen;
        p += thislen;
        r->histlen += thislen;
    }

    /* There is no more history than the ring is large. */
    if (r->histlen > r->size) r->histlen = r->size;
}

/* Where in the buffer the byte at an offset of the history is. */
static long long ringPlace(ring *r, long long offset) {
    long long start = r->idx - r->histlen;
    if (start < 0) start += r->size;
    return (start + offset) % r->size;
}

/* Copies what the ring has from an offset of its history on. Returns how
 * many bytes that were, or -1 if the offset is outside. */
long long ringRead(ring *r, long long offset, unsigned char *out, long long len) {
    long long j;

    if (offset < 0 || offset > ringLength(r)) return -1;
    if (len > ringLength(r) - offset) len = ringLength(r) - offset;
    for (j = 0; j < len; j++) {
        out[j] = r->buf[ringPlace(r, offset + j)];
    }
    return len;
}

/* Gives the ring another size; its history is lost. */
void ringResize(ring *r, long long size) {
    if (size < RING_MIN_SIZE) size = RING_MIN_SIZE;
    free(r->buf);
    r->buf = malloc(size);
    r->size = size;
    r->histlen = 0;
    r->idx = 0;
}
