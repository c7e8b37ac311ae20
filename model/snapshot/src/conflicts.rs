use crate::Snapshot; use crate::read::Reader; pub(crate) fn find(_r: &mut Reader, _s: &Snapshot) {}
