/* Nothing of this is in the sample's port. */

/* Waits for something. */
int pollWait(int timeout) {
    return timeout;
}
