/* A ring of bytes, for the tests of the reader: this is no code of Redis. */
#ifndef SAMPLE_RING_H
#define SAMPLE_RING_H

#define RING_MIN_SIZE 16

typedef struct ring {
    unsigned char *buf;
    long long size;
    long long histlen;
    long long idx;
} ring;

#define ringLength(r) ((r)->histlen)

ring *ringCreate(long long size);
void ringFree(ring *r);
void ringFeed(ring *r, const unsigned char *p, long long len);
long long ringRead(ring *r, long long offset, unsigned char *out, long long len);

#endif
