use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn rules(list: &[&str]) -> AddressRules {
    AddressRules::parse(list).unwrap()
}

fn check(rules: &AddressRules, address: &str) -> Option<Refusal> {
    rules.check(ip(address), &[443], &[(ip("10.96.0.1"), 443)]).err()
}

#[test]
fn what_leads_to_the_machine_the_cloud_or_many_is_refused_in_every_spelling() {
    use Refusal::*;
    let table = [
        ("0.0.0.0", Some(Unspecified)),
        ("0.1.2.3", Some(Unspecified)),
        ("::", Some(Unspecified)),
        ("127.0.0.1", Some(Loopback)),
        ("127.255.255.254", Some(Loopback)),
        ("::1", Some(Loopback)),
        ("169.254.0.1", Some(LinkLocal)),
        ("169.254.169.253", Some(LinkLocal)),
        ("fe80::1", Some(LinkLocal)),
        ("febf:ffff::1", Some(LinkLocal)),
        ("169.254.169.254", Some(Metadata)),
        ("169.254.170.2", Some(Metadata)),
        ("169.254.170.23", Some(Metadata)),
        ("100.100.100.200", Some(Metadata)),
        ("168.63.129.16", Some(Metadata)),
        ("192.0.0.192", Some(Metadata)),
        ("fd00:ec2::254", Some(Metadata)),
        ("fd00:ec2::23", Some(Metadata)),
        ("fd20:ce::254", Some(Metadata)),
        ("fd00:c1::a9fe:a9fe", Some(Metadata)),
        ("fd00:42::42", Some(Metadata)),
        ("224.0.0.1", Some(Multicast)),
        ("239.255.255.255", Some(Multicast)),
        ("255.255.255.255", Some(Multicast)),
        ("ff02::1", Some(Multicast)),
        ("ff0e::1", Some(Multicast)),
        ("240.0.0.1", Some(Reserved)),
        // The same in IPv6 that ends in IPv4.
        ("::ffff:127.0.0.1", Some(Loopback)),
        ("::ffff:169.254.169.254", Some(Metadata)),
        ("::ffff:0.0.0.0", Some(Unspecified)),
        ("::ffff:10.96.0.1", Some(ApiServer)),
        ("::127.0.0.1", Some(Loopback)),
        ("::ffff:0:127.0.0.1", Some(Loopback)),
        ("64:ff9b::127.0.0.1", Some(Loopback)),
        ("64:ff9b::a9fe:a9fe", Some(Metadata)),
        ("64:ff9b::10.96.0.1", Some(ApiServer)),
        ("64:ff9b:1::127.0.0.1", Some(Loopback)),
        ("64:ff9b:1:a9fe:a9:fe00::", Some(Metadata)),
        ("2002:7f00:1::", Some(Loopback)),
        ("2002:a9fe:a9fe::1", Some(Metadata)),
        ("2001:0:7f00:1::", Some(Loopback)),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", Some(Loopback)),
        // What a provider may well have.
        ("10.96.0.1", Some(ApiServer)),
        ("10.96.0.2", None),
        ("172.16.0.1", None),
        ("192.168.1.1", None),
        ("100.64.0.1", None),
        ("192.0.2.1", None),
        ("198.18.0.1", None),
        ("8.8.8.8", None),
        ("126.255.255.255", None),
        ("128.0.0.1", None),
        ("169.253.255.255", None),
        ("169.255.0.1", None),
        ("223.255.255.255", None),
        ("fd00::1", None),
        ("fc00:1234::1", None),
        ("fec0::1", None),
        ("2606:4700::1111", None),
        ("::ffff:10.0.0.1", None),
        ("64:ff9b::8.8.8.8", None),
        ("64:ff9b:1::8.8.8.8", None),
        ("64:ff9b:1:808:8:800::", None),
        ("2002:808:808::1", None),
        ("2001:db8::1", None),
    ];
    let strict = AddressRules::default();
    for (address, expected) in table {
        assert_eq!(check(&strict, address), expected, "{address}");
    }
}

#[test]
fn the_api_server_is_refused_at_its_port_only() {
    let (strict, servers) = (AddressRules::default(), [(ip("10.0.0.5"), 6443), (ip("fd00::5"), 6443)]);
    let check = |address, ports: &[u16]| strict.check(ip(address), ports, &servers);
    assert_eq!(check("10.0.0.5", &[6443]), Err(Refusal::ApiServer));
    assert_eq!(check("10.0.0.5", &[443, 6443]), Err(Refusal::ApiServer));
    assert_eq!(check("fd00::5", &[6443]), Err(Refusal::ApiServer));
    assert_eq!(check("10.0.0.5", &[443]), Ok(()));
    assert_eq!(check("10.0.0.6", &[6443]), Ok(()));
    let mapped = [(ip("::ffff:10.0.0.5"), 6443)];
    assert_eq!(strict.check(ip("10.0.0.5"), &[6443], &mapped), Err(Refusal::ApiServer));
    assert_eq!(rules(&["10.0.0.0/24"]).check(ip("10.0.0.5"), &[6443], &servers), Ok(()));
}

#[test]
fn what_is_listed_is_allowed_and_nothing_beside_it() {
    let listed = rules(&["127.0.0.0/8", " ::1 ", "", "169.254.169.254"]);
    for address in ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"] {
        assert_eq!(check(&listed, address), None, "{address}");
    }
    for address in ["169.254.169.253", "0.0.0.0", "10.96.0.1", "::", "fe80::1", "::ffff:169.254.1.1"] {
        assert!(check(&listed, address).is_some(), "{address}");
    }
    // One address that it carries is listed, the other is not.
    assert_eq!(check(&listed, "2001:0:7f00:1:0:0:5601:5602"), Some(Refusal::LinkLocal));
    // The outer address may be listed by itself.
    assert_eq!(check(&rules(&["64:ff9b::/96"]), "64:ff9b::127.0.0.1"), None);
    assert_eq!(check(&rules(&["0.0.0.0/0", "::/0"]), "127.0.0.1"), None);
}

#[test]
fn an_entry_that_is_no_network_is_named() {
    for bad in ["localhost", "10.0.0.0/33", "10.0.0", "::1/129", "10.0.0.0/8;::1", "*"] {
        let error = AddressRules::parse(&["10.0.0.0/8", bad]).unwrap_err();
        assert!(error.starts_with(&format!("ALLOWED_ADDRESSES: {bad:?} is neither a network")), "{error}");
    }
}
