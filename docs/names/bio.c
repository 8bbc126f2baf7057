# bio.c, 9 functions. Here: src/bio.rs
bioInit
bioSubmitJob
bioCreateLazyFreeJob
bioCreateCloseJob
bioCreateFsyncJob
bioProcessBackgroundJobs
bioPendingJobsOfType
bioWaitStepOfType
bioKillThreads
