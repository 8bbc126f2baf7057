# release.c, 4 functions. Here: src/server.rs
redisGitSHA1
redisGitDirty
redisBuildId
redisBuildIdString
