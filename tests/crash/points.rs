//! Which calls does a campaign make, and what may happen at each of them? Found out by a run without a fault.

use std::fmt;

use testbed::proxy::Record;

use crate::tenant::Vendor;

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Killed before the call is sent on.
    KilledBefore,
    /// Killed when the call has taken effect; the answer is lost.
    KilledAnswerLost,
    /// Killed when it has the answer, and nothing of that has left it.
    KilledNotRecorded,
    /// Killed with the call on the wire, which arrives when the next operator is at work.
    KilledOnTheWire,
    /// The connection is reset before the call is sent on; the operator lives.
    Reset,
    /// The call takes effect and its answer is lost; the operator lives.
    AnswerLost,
    /// The call takes effect and is answered with 503; the operator lives.
    Unavailable,
    /// The connection is reset, and the call arrives when the operator has read the account once; the operator lives.
    Late,
}

impl Trouble {
    /// The operator ends.
    pub const KILLS: [Trouble; 4] =
        [Trouble::KilledBefore, Trouble::KilledAnswerLost, Trouble::KilledNotRecorded, Trouble::KilledOnTheWire];
    /// The operator lives.
    pub const BREAKS: [Trouble; 4] = [Trouble::Reset, Trouble::AnswerLost, Trouble::Unavailable, Trouble::Late];

    pub fn kills(self) -> bool {
        Self::KILLS.contains(&self)
    }

    pub fn name(self) -> &'static str {
        match self {
            Trouble::KilledBefore => "killed-before",
            Trouble::KilledAnswerLost => "killed-answer-lost",
            Trouble::KilledNotRecorded => "killed-not-recorded",
            Trouble::KilledOnTheWire => "killed-on-the-wire",
            Trouble::Reset => "reset",
            Trouble::AnswerLost => "answer-lost",
            Trouble::Unavailable => "unavailable",
            Trouble::Late => "late",
        }
    }
}

/// The name of the proxy before the API server.
pub const KUBERNETES: &str = "kubernetes";

/// What says how a policy stands.
pub const STATUS: &str = "patch passwordreset.dev/passwordresetpolicies/status";

/// A call, and what happens at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub vendor: Vendor,
    /// Which proxy: [`KUBERNETES`], `api` or `auth`.
    pub proxy: &'static str,
    /// The kind of call.
    pub template: String,
    /// Its place among the calls of that kind, from 1.
    pub nth: u64,
    pub trouble: Trouble,
    /// Whether the call writes to an account.
    pub writes: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vendor = format!("{:?}", self.vendor).to_lowercase();
        write!(f, "{vendor}:{}:{}#{}:{}", self.proxy, self.template, self.nth, self.trouble.name())
    }
}

/// Whether a call of the API server is broken while the operator lives: with one provider of each class, since the provider
/// makes no difference. Watches are broken in `faults/watches.rs`.
fn breaks_kubernetes(vendor: Vendor, record: &Record) -> bool {
    matches!(vendor, Vendor::MonoCloud | Vendor::Looker) && !record.call.is_watch
}

/// The points of a campaign whose calls are `records`, by proxy.
pub fn of(vendor: Vendor, records: &[(&'static str, Vec<Record>)], troubles: &[Trouble]) -> Vec<Point> {
    let mut points = Vec::new();
    for (proxy, records) in records {
        for record in records {
            let writes = *proxy != KUBERNETES && crate::site::is_write(vendor, &record.call);
            for trouble in troubles {
                // What is on the wire matters where something is written to an account.
                let meant = match trouble {
                    Trouble::KilledOnTheWire | Trouble::Late => writes,
                    trouble if !trouble.kills() && *proxy == KUBERNETES => breaks_kubernetes(vendor, record),
                    _ => true,
                };
                if meant {
                    let (template, nth) = (record.call.template.clone(), record.call.nth);
                    points.push(Point { vendor, proxy, template, nth, trouble: *trouble, writes });
                }
            }
        }
    }
    if let Ok(part) = std::env::var("CRASH_POINT") {
        points.retain(|point| point.to_string().contains(&part));
    }
    points
}
