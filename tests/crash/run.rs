//! One campaign with one fault, from the first call to rest.

use std::time::{Duration, Instant};

use testbed::proxy::Record;

use crate::campaign::{Beds, Campaign, LONG_SETTLE_SECONDS, bed};
use crate::points::{Point, Trouble};
use crate::site::USERS;
use crate::tenant::Vendor;

/// What became of one campaign.
pub struct Outcome {
    /// The point was reached, and the fault made.
    pub reached: bool,
    /// What is wrong; empty when all is well.
    pub problems: Vec<String>,
    /// The calls by proxy.
    pub records: Vec<(&'static str, Vec<Record>)>,
    /// How long it took from the restart of the operator to its rest and one more look.
    pub took: Duration,
    /// What the operator wrote into its log.
    pub log: String,
}

/// Runs a campaign with the fault of `point`; without a point, to the end of its first pass.
pub async fn run(vendor: Vendor, point: Option<&Point>, beds: &Beds) -> Outcome {
    let settle_seconds = match point.map(|point| point.trouble) {
        Some(Trouble::KilledOnTheWire | Trouble::Late) => LONG_SETTLE_SECONDS,
        _ => 1,
    };
    let mut campaign = Campaign::prepare(vendor, USERS, settle_seconds, bed(beds).await).await;
    if let Some(point) = point {
        campaign.arm(point).await;
    }
    campaign.bed.start().await;
    // Without a point nothing fires, and what comes after rest is recorded as well.
    let first = campaign.rest(true).await;
    let reached = first.is_none();
    let mut restarted = Instant::now();
    let mut rest = first.unwrap_or(Ok(()));
    if let Some(point) = point.filter(|_| reached) {
        if point.trouble.kills() {
            campaign.nothing_on_the_wire().await;
            campaign.people_act(point.nth, point.trouble == Trouble::KilledOnTheWire).await;
            campaign.ready_for_the_next().await;
            restarted = Instant::now();
            campaign.bed.start().await;
            rest = campaign.rest(false).await.unwrap_or(Ok(()));
        } else {
            campaign.pardon_what_people_do();
            campaign.people_act(point.nth, point.trouble == Trouble::Late).await;
            rest = campaign.rest_by_itself().await;
        }
    }
    let records = campaign.take_records();
    let lost = point.filter(|_| reached).is_some_and(|point| never_arrived(point, &records));
    let (mut problems, log) = campaign.end(rest, usize::from(point.is_some()), beds).await;
    problems.extend(lost.then(|| "the call on the wire never arrived, which proves nothing".to_owned()));
    Outcome { reached, problems, records, took: restarted.elapsed(), log }
}

/// Whether the call of a point at which a call arrives late did not.
fn never_arrived(point: &Point, records: &[(&'static str, Vec<Record>)]) -> bool {
    let of_proxy = records.iter().find(|(name, _)| *name == point.proxy);
    let call = of_proxy
        .and_then(|(_, records)| records.iter().find(|r| r.call.template == point.template && r.call.nth == point.nth));
    matches!(point.trouble, Trouble::KilledOnTheWire | Trouble::Late) && call.is_none_or(|r| r.status.is_none())
}
