//! `t_list.c`: lists.
use crate::ds::quicklist::*;
use crate::server_h::*;
pub fn listTypePop(ql: &mut Quicklist, where_: i32) -> Option<Vec<u8>> {
    quicklistPop(ql, if where_ == LIST_HEAD { QUICKLIST_HEAD } else { QUICKLIST_TAIL })
}
pub fn listTypePush(ql: &mut Quicklist, v: &[u8], where_: i32) {
    quicklistPush(ql, v, if where_ == LIST_HEAD { QUICKLIST_HEAD } else { QUICKLIST_TAIL })
}
pub fn listTypeLength(ql: &Quicklist) -> usize {
    quicklistCount(ql)
}
pub fn serveClientBlockedOnList(_s: &mut Server, _r: ClientId, _k: &[u8], _d: Option<&[u8]>, _db: usize, _v: &[u8], _e: (i32, i32)) -> CResult {
    C_OK
}
