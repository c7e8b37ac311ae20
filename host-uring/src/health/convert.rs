//! Monitors of the document as `forebay-health` knows them.

use forebay_health::{External, Grpc, Http, Kind, Monitor, StatusSet, Tcp, Timing, Udp};
use forebay_snapshot::HealthMonitor;
use forebay_snapshot::health::StatusRange;

/// Turns a monitor of a checked document into the one that is run.
pub fn monitor(from: &HealthMonitor) -> Monitor {
    let bytes = |text: &Option<String>| text.as_deref().unwrap_or_default().as_bytes().to_vec();
    let kind = match from {
        HealthMonitor::Tcp(tcp) => Kind::Tcp(Tcp {
            request: bytes(&tcp.send),
            response: bytes(&tcp.expect),
            maintenance_response: bytes(&tcp.maintenance_match),
        }),
        HealthMonitor::Http(_) | HealthMonitor::Https(_) => Kind::Http(http(from)),
        HealthMonitor::Udp(udp) => Kind::Udp(Udp {
            request: bytes(&udp.send),
            response: bytes(&udp.expect),
            maintenance_response: bytes(&udp.maintenance_match),
        }),
        HealthMonitor::Grpc(grpc) => Kind::Grpc(Grpc { service: grpc.service.clone().unwrap_or_default() }),
        HealthMonitor::Ping(_) => Kind::Ping,
        HealthMonitor::External(external) => Kind::External(External { command: external.command.clone() }),
    };
    let timing = Timing {
        send_interval_s: u32::from(*from.send_interval_s()),
        receive_timeout_s: u32::from(*from.receive_timeout_s()),
        failed_checks: *from.failed_checks(),
        successful_checks: *from.successful_checks(),
        quick_start: true,
    };
    Monitor { name: from.name().clone(), kind, timing }
}

fn http(from: &HealthMonitor) -> Http {
    let bytes = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
    from.http().map_or_else(Http::default, |http| Http {
        request: http.request.to_owned(),
        exact: http.exact_request,
        expect: statuses(http.statuses),
        response: bytes(http.body_match),
        maintenance_codes: http.maintenance_codes.to_vec(),
        maintenance_response: bytes(http.maintenance_match),
    })
}

fn statuses(ranges: &[StatusRange]) -> StatusSet {
    ranges.iter().fold(StatusSet::none(), |set, range| {
        let class = range.low / 100;
        if range.low == class * 100 && range.high == range.low + 99 {
            set.with_class(class as u8)
        } else {
            (range.low..=range.high).fold(set, StatusSet::with_code)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_check_lets_pass_the_monitor_takes() {
        let document = format!(
            "version = 1\n[[health_monitor]]\nname = \"a\"\ntype = \"http\"\nrequest = '''{}'''\nbody_match = '''{}'''\n\
             statuses = [\"2xx\", \"301-399\"]\nmaintenance_codes = [503, 504, 505, 506]\nsend_interval_s = 3600\n\
             receive_timeout_s = 2400\nfailed_checks = 50\n\
             [[health_monitor]]\nname = \"b\"\ntype = \"tcp\"\nsend = '''{0}'''\nexpect = '''{1}'''\n\
             send_interval_s = 2\nreceive_timeout_s = 1\nsuccessful_checks = 1",
            format!("GET /{}", "a".repeat(495)),
            "x".repeat(512)
        );
        let snapshot = forebay_snapshot::check(&document).expect("a right document");
        for from in &snapshot.health_monitor {
            assert_eq!(monitor(from).problems(), []);
        }
        let Kind::Http(http) = monitor(&snapshot.health_monitor[0]).kind else { panic!("an HTTP monitor") };
        let pass: Vec<u16> = (100..600).filter(|status| http.expect.contains(*status)).collect();
        assert_eq!(pass, (200..300).chain(301..400).collect::<Vec<_>>());
    }
}
