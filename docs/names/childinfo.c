# childinfo.c, 6 functions. Here: src/childinfo.rs
openChildInfoPipe
closeChildInfoPipe
sendChildInfoGeneric
updateChildInfo
readChildInfo
receiveChildInfo
