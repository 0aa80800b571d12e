//! Who is meant? The calls that find it out, as a list that is worked off in order: what protects comes first, since
//! nothing may be written before it is known. How keys are looked for is in [`super::keys`], how listings are read in
//! [`super::pages`].

use std::collections::VecDeque;

use super::pages::{Aim, Reading};
use super::{Halt, Pass, Work};
use crate::controller::policy::dereference::Ready;
use crate::plan::desired::{NamedSet, Place, SelectedKey};
use crate::plan::key_search::Purpose;
use crate::plan::observed::{Listing, SetKind};
use crate::plan::unresolved::{self, Unresolved};

/// One thing to find out.
#[derive(Clone, Debug)]
pub enum Task {
    /// Whose key is this?
    Key(Purpose, SelectedKey),
    /// Which group or population has this name, and is it excluded or selected?
    Set(Purpose, SetKind, NamedSet),
    /// Who is in an excluded set, named at this place?
    ExcludeMembers(Place, Box<Reading>),
    /// Who has one of the keys that only a full listing tells?
    Search(Box<Reading>),
    /// Who is targeted? The tenant, or the members of the set that is named at this place.
    List(Option<Place>, Box<Reading>),
}

impl Task {
    /// The same listing from its beginning.
    pub fn again(task: &Task) -> Task {
        match task {
            Task::List(place, reading) => Task::List(place.clone(), Box::new(reading.anew())),
            other => other.clone(),
        }
    }
}

/// What has to be found out for a target, in order. A listing has `max_pages` pages at most.
pub fn tasks(ready: &Ready, max_pages: u32) -> VecDeque<Task> {
    let desired = &ready.desired;
    let mut tasks = VecDeque::new();
    let sets = |purpose, kind, names: &[NamedSet]| -> Vec<Task> {
        names.iter().map(|name| Task::Set(purpose, kind, name.clone())).collect()
    };
    let keys = |purpose, keys: &[SelectedKey]| -> Vec<Task> {
        keys.iter().map(|key| Task::Key(purpose, key.clone())).collect()
    };
    tasks.extend(keys(Purpose::Protect, ready.protected.as_deref().unwrap_or_default()));
    tasks.extend(keys(Purpose::Exclude, &desired.excluded.keys));
    tasks.extend(sets(Purpose::Exclude, SetKind::Group, &desired.excluded.groups));
    tasks.extend(sets(Purpose::Exclude, SetKind::Population, &desired.excluded.populations));
    tasks.extend(sets(Purpose::Select, SetKind::Group, &desired.selection.groups));
    tasks.extend(sets(Purpose::Select, SetKind::Population, &desired.selection.populations));
    tasks.extend(keys(Purpose::Select, &desired.selection.keys));
    tasks.push_back(Task::Search(Box::new(Reading::new(Listing::Tenant, max_pages))));
    if desired.selection.tenant {
        tasks.push_back(Task::List(None, Box::new(Reading::new(Listing::Tenant, max_pages))));
    }
    tasks
}

impl Pass {
    /// Carries out the next task, or the next few that are alike.
    pub(super) async fn carry_out(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        match self.tasks.front() {
            Some(Task::Key(..)) => self.find_keys(work).await,
            Some(Task::Set(..)) => self.resolve_set(work).await,
            Some(Task::ExcludeMembers(..)) => self.read_page(work, Aim::Exclude).await,
            Some(Task::Search(_)) if self.search.is_idle() => {
                self.tasks.pop_front();
                Ok(())
            }
            Some(Task::Search(_)) => self.read_page(work, Aim::Search).await,
            Some(Task::List(..)) => self.read_page(work, Aim::List).await,
            None => Ok(()),
        }
    }

    async fn resolve_set(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let Some(Task::Set(purpose, kind, set)) = self.tasks.front().cloned() else { return Ok(()) };
        let unresolved = |how| {
            Halt::Stop(match purpose {
                Purpose::Select => unresolved::selection_unresolved(&set.place, how),
                Purpose::Exclude | Purpose::Protect => unresolved::exclusion_unresolved(&set.place, how),
            })
        };
        let mut ids = match work.provider().sets(kind, &set.name).await {
            Ok(ids) => ids,
            Err(error) if error.is_refusal() => {
                tracing::info!(%error, "a group or population cannot be looked for");
                return Err(unresolved(Unresolved::Refused));
            }
            Err(error) => return Err(Halt::Tenant(error)),
        };
        let (Some(id), true) = (ids.pop(), ids.is_empty()) else {
            return Err(unresolved(if ids.is_empty() { Unresolved::Nothing } else { Unresolved::Several }));
        };
        self.tasks.pop_front();
        let listing = match kind {
            SetKind::Group => Listing::Group(id),
            SetKind::Population => Listing::Population(id),
        };
        let reading = Box::new(Reading::new(listing, self.max_pages));
        match purpose {
            Purpose::Select => self.tasks.push_back(Task::List(Some(set.place), reading)),
            Purpose::Exclude | Purpose::Protect => self.tasks.push_front(Task::ExcludeMembers(set.place, reading)),
        }
        Ok(())
    }
}
