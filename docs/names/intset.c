# intset.c, 17 functions. Here: src/ds/intset.rs
_intsetValueEncoding
_intsetGetEncoded
_intsetGet
_intsetSet
intsetNew
intsetResize
intsetSearch
intsetUpgradeAndAdd
intsetMoveTail
intsetAdd
intsetRemove
intsetFind
intsetRandom
intsetGet
intsetLen
intsetBlobLen
intsetValidateIntegrity
