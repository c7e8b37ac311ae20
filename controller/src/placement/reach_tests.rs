//! By what way engines have addresses.

use serde_json::json;

use super::tests::Lab;

//= test PLACE-NETWORK-01
#[test]
fn an_engine_with_a_route_qualifies_and_one_with_an_interface_comes_first() {
    let mut lab = Lab::new(&json!({}), 2, 1);
    lab.seen.iter_mut().for_each(|seen| seen.interfaces.clear());
    lab.settle();
    assert!(lab.on(0).is_empty());
    lab.seen[0].routes.push("10.0.0.0/8".parse().expect("a network"));
    lab.settle();
    assert_eq!(lab.serving(0), ["se-0"]);
    let mut lab = Lab::new(&json!({}), 2, 1);
    lab.seen[0].routes = std::mem::take(&mut lab.seen[0].interfaces);
    lab.settle();
    assert_eq!(lab.serving(0), ["se-1"]);
}
