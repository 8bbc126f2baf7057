#define REDIS_VERSION "0.0.1"
