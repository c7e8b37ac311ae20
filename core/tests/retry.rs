//! Which requests may be sent twice.

use forebay_core::retry::is_idempotent;

//= test LB-RETRY-01
#[test]
fn six_methods_and_no_others_have_the_same_effect_once_or_twice() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert!(is_idempotent(method.as_bytes()), "{method}");
    }
    for method in ["POST", "PATCH", "CONNECT", "QUERY", "put", "GETS", "GE", ""] {
        assert!(!is_idempotent(method.as_bytes()), "{method}");
    }
}
