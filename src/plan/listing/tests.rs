use jiff::Timestamp;

use super::*;
use crate::plan::observed::{Account, Cursor};

fn page(rows: &[(&str, &str)], next: Option<&str>, total: Option<u64>) -> Page {
    let account = |(id, key): &(&str, &str)| Account {
        sort_key: (*key).to_owned(),
        ..Account::unknown(*id, Timestamp::UNIX_EPOCH)
    };
    Page { accounts: rows.iter().map(account).collect(), next: next.map(|next| Cursor(next.to_owned())), total }
}

fn tenant() -> ListingCheck {
    ListingCheck::new(&Listing::Tenant, 100)
}

#[test]
fn a_clean_listing_that_shows_as_many_as_announced_is_complete() {
    let mut check = tenant();
    assert_eq!(check.page(&page(&[("1", "a"), ("2", "b")], Some("p2"), Some(3))), Ok(2));
    assert_eq!(check.page(&page(&[("3", "c")], None, Some(3))), Ok(1));
    assert_eq!(check.end(), Ok(()));
}

#[test]
fn a_page_is_judged_as_it_comes_and_the_whole_with_its_last_one() {
    let mut check = tenant();
    assert_eq!(check.take(&page(&[("1", "a")], Some("p2"), Some(3))), Ok(()));
    assert_eq!(check.take(&page(&[("2", "b")], Some("p2"), Some(3))), Err(ListingFault::Loops));
    let mut check = tenant();
    assert_eq!(check.take(&page(&[("1", "a")], Some("p2"), Some(3))), Ok(()));
    let short = ListingFault::Short { distinct: 2, announced: 3 };
    assert_eq!(check.take(&page(&[("2", "b")], None, Some(3))), Err(short));
}

#[test]
fn only_one_page_that_is_not_full_is_sure_to_have_shown_everybody() {
    let after = |pages: &[Page]| {
        let mut check = tenant();
        for page in pages {
            let _ = check.page(page);
        }
        check
    };
    let (one, two) = (page(&[("1", "a")], Some("p2"), None), page(&[("2", "b"), ("3", "c")], Some("p3"), None));
    let (nobody, end) = (page(&[], Some("p4"), None), page(&[], None, None));
    assert!(after(&[two.clone(), nobody, end.clone()]).fits(3), "empty pages move nobody");
    assert!(!after(&[two.clone(), end]).fits(2), "a full page");
    assert!(!after(&[one, two]).fits(10), "somebody may have moved from one to the other");
}

#[test]
fn fewer_distinct_accounts_than_announced_are_not_complete() {
    let mut check = tenant();
    check.page(&page(&[("1", "a"), ("2", "b")], None, Some(3))).unwrap();
    assert_eq!(check.end(), Err(ListingFault::Short { distinct: 2, announced: 3 }));
}

#[test]
fn rows_that_moved_to_the_next_page_are_counted_once() {
    let mut check = tenant();
    check.page(&page(&[("1", "a"), ("2", "b"), ("3", "c")], Some("p2"), Some(5))).unwrap();
    // Two accounts were created in front, so the second page begins with two known rows; account 5 was pushed out.
    assert_eq!(check.page(&page(&[("2", "b"), ("3", "c"), ("4", "d")], None, Some(5))), Ok(1));
    assert_eq!(check.end(), Err(ListingFault::Short { distinct: 4, announced: 5 }));
}

#[test]
fn rows_that_share_a_sort_key_over_many_pages_are_told_apart() {
    let mut check = tenant();
    // A bulk import: everybody was created in the same second, and the order among them changes from page to page.
    check.page(&page(&[("1", "t"), ("2", "t")], Some("p2"), Some(5))).unwrap();
    assert_eq!(check.page(&page(&[("3", "t"), ("2", "t")], Some("p3"), Some(5))), Ok(1));
    assert_eq!(check.page(&page(&[("1", "t"), ("4", "t")], None, Some(5))), Ok(1));
    assert_eq!(check.end(), Err(ListingFault::Short { distinct: 4, announced: 5 }));
}

#[test]
fn whoever_comes_or_goes_while_the_pages_are_read_does_not_make_a_listing_short() {
    for totals in [(3, 2), (2, 3)] {
        let mut check = tenant();
        check.page(&page(&[("1", "a")], Some("p2"), Some(totals.0))).unwrap();
        check.page(&page(&[("2", "b")], None, Some(totals.1))).unwrap();
        assert_eq!(check.end(), Ok(()), "{totals:?}");
    }
}

#[test]
fn a_tenant_listing_of_nobody_is_never_complete_but_a_group_may_be_empty() {
    let mut check = tenant();
    check.page(&page(&[], None, Some(0))).unwrap();
    assert_eq!(check.end(), Err(ListingFault::Nobody));
    let mut check = ListingCheck::new(&Listing::Group("g".into()), 100);
    check.page(&page(&[], None, None)).unwrap();
    assert_eq!(check.end(), Ok(()));
}

#[test]
fn a_cursor_that_comes_twice_is_a_loop() {
    let mut check = tenant();
    check.page(&page(&[("1", "a")], Some("p2"), None)).unwrap();
    check.page(&page(&[("2", "b")], Some("p1"), None)).unwrap();
    assert_eq!(check.page(&page(&[("3", "c")], Some("p2"), None)), Err(ListingFault::Loops));
}

#[test]
fn a_page_without_anybody_new_is_a_fault_whatever_its_cursor_says() {
    let mut check = tenant();
    check.page(&page(&[("1", "a"), ("2", "b")], Some("p2"), None)).unwrap();
    let repeated = page(&[("1", "a"), ("2", "b")], Some("p3"), None);
    assert_eq!(check.page(&repeated), Err(ListingFault::Repeats { rows: 2 }));
}

#[test]
fn a_last_page_of_rows_that_newcomers_pushed_there_is_honest_once() {
    let mut check = tenant();
    check.page(&page(&[("1", "a"), ("2", "b"), ("3", "c")], Some("3"), None)).unwrap();
    let pushed = |next| page(&[("3", "c")], next, None);
    assert_eq!(check.page(&pushed(Some("4"))), Ok(0), "somebody has come who is listed before them");
    let mut ends = check.clone();
    assert_eq!(ends.take(&page(&[], None, None)), Ok(()));
    assert_eq!(check.page(&pushed(Some("5"))), Err(ListingFault::Repeats { rows: 1 }));
}

#[test]
fn a_listing_has_a_greatest_number_of_pages_and_of_empty_ones() {
    let mut check = ListingCheck::new(&Listing::Tenant, 3);
    for n in 1..3 {
        let id = n.to_string();
        check.page(&page(&[(&id, &id)], Some(&id), None)).unwrap();
    }
    assert_eq!(check.page(&page(&[("x", "x")], Some("x"), None)), Err(ListingFault::Endless { pages: 3 }));

    let mut check = tenant();
    let results: Vec<_> = (0..20).map(|n| check.page(&page(&[], Some(&n.to_string()), None))).collect();
    assert_eq!(results[15], Ok(0), "some empty pages are honest");
    assert_eq!(results[16], Err(ListingFault::Endless { pages: 17 }));
}

#[test]
fn what_is_kept_does_not_grow_with_the_accounts() {
    let mut check = ListingCheck::new(&Listing::Tenant, 2_000);
    for n in 0..1_000 {
        let ids: Vec<String> = (0..100).map(|i| format!("{n}-{i}")).collect();
        let rows: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
        check.page(&page(&rows, Some(&n.to_string()), None)).unwrap();
    }
    assert_eq!(check.distinct, 100_000);
    assert_eq!((check.recent.len(), check.same_key.len(), check.cursors.len()), (100, 1, 1_000));
}
