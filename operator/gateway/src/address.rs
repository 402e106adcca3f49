//! What an address is, and whether an agent may reach it. In: an address, the cluster's ranges, the ranges that a pool lists.
//! Out: [`Reach`] or the [`AddressClass`] for which it is refused.
//!
//! An IPv4 address inside one of version 6 is judged as what it leads to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Anybody's, on the internet.
    Public,
    /// Of this cluster, by its settings.
    Cluster,
    /// Of some private network (RFC 1918, unique local).
    Private,
    /// Shared by a provider's customers (100.64.0.0/10).
    Shared,
    /// Reserved, for documentation, for benchmarks, or a retired way of tunnelling.
    Reserved,
    /// Of the same link.
    LinkLocal,
    /// Hands out the machine's own credentials in some cloud.
    Metadata,
    /// The gateway itself.
    Loopback,
    /// No address of anybody.
    Unspecified,
    /// Of a group.
    Multicast,
}

impl AddressClass {
    /// The word for audit lines and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Cluster => "of the cluster",
            Self::Private => "private",
            Self::Shared => "of a provider's shared range",
            Self::Reserved => "reserved",
            Self::LinkLocal => "link-local",
            Self::Metadata => "of a metadata service",
            Self::Loopback => "loopback",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
        }
    }

    /// Whether a pool can list such addresses. What leads to the gateway itself or to its node's credentials is never for an agent.
    pub fn can_be_listed(self) -> bool {
        !matches!(self, Self::LinkLocal | Self::Metadata | Self::Loopback | Self::Unspecified | Self::Multicast)
    }

    /// What `address` is, as far as the address alone tells.
    pub fn of(address: IpAddr) -> Self {
        match canonical(address) {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

/// How an address may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is public, and through a company's proxy if there is one.
    Public,
    /// A pool lists it, so it is nearby: no company's proxy leads there.
    Listed,
}

/// Whether `address` may be reached, given the ranges of the cluster and those that the pool lists.
pub fn judge(address: IpAddr, cluster: &[IpNet], listed: &[IpNet]) -> Result<Reach, AddressClass> {
    let address = canonical(address);
    let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
    let class = AddressClass::of(address);
    if !class.can_be_listed() {
        Err(class)
    } else if within(listed) {
        Ok(Reach::Listed)
    } else if within(cluster) {
        Err(AddressClass::Cluster)
    } else if class == AddressClass::Public {
        Ok(Reach::Public)
    } else {
        Err(class)
    }
}

/// The address that is reached in the end: a packet to `::ffff:10.0.0.1`, or through NAT64 to `64:ff9b::10.0.0.1`, goes to 10.0.0.1.
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [front @ .., high, low] = v6.segments();
    let mapped = front == [0, 0, 0, 0, 0, 0xffff];
    let translated = front == [0x64, 0xff9b, 0, 0, 0, 0];
    if mapped || translated { Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into() } else { address }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        // Oracle, Azure, Alibaba: each at an address that would otherwise be public or shared.
        [192, 0, 0, 192] | [168, 63, 129, 16] | [100, 100, 100, 200] | [169, 254, 169, 254] => AddressClass::Metadata,
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [224..=239, ..] | [255, 255, 255, 255] => AddressClass::Multicast,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::Shared,
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // Amazon's range for services of the machine, and Google's metadata server.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => AddressClass::Metadata,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        // fec0::/10 was retired and is still routed inside of sites.
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => AddressClass::Private,
        // Teredo and other protocol assignments, documentation, 6to4: some of them hide an IPv4 address.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn class(text: &str) -> AddressClass {
        AddressClass::of(text.parse().unwrap())
    }

    #[test]
    fn each_address_is_what_the_registries_say() {
        use AddressClass::{LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved, Shared, Unspecified};
        let table = [
            ("93.184.215.14", Public),
            ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", Public),
            ("172.15.255.255", Public),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("10.0.0.1", Private),
            ("192.168.1.1", Private),
            ("100.63.255.255", Public),
            ("100.64.0.1", Shared),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Metadata),
            ("169.254.169.254", Metadata),
            ("169.254.170.2", LinkLocal),
            ("127.0.0.53", Loopback),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("224.0.0.1", Multicast),
            ("255.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("198.18.0.1", Reserved),
            ("203.0.113.7", Reserved),
            ("::", Unspecified),
            ("::1", Loopback),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
            ("fd12::1", Private),
            ("fec0::1", Private),
            ("fe80::1", LinkLocal),
            ("ff02::1", Multicast),
            ("2001::1", Reserved),
            ("2001:db8::1", Reserved),
            ("2002:a00:1::", Reserved),
            ("3fff::1", Reserved),
            ("4000::1", Reserved),
            ("100::1", Reserved),
        ];
        for (address, expected) in table {
            assert_eq!(class(address), expected, "{address}");
        }
    }

    #[test]
    fn an_address_inside_another_is_judged_as_what_it_leads_to() {
        assert_eq!(class("::ffff:10.0.0.1"), AddressClass::Private);
        assert_eq!(class("::ffff:169.254.169.254"), AddressClass::Metadata);
        assert_eq!(class("64:ff9b::a9fe:a9fe"), AddressClass::Metadata);
        assert_eq!(class("64:ff9b::7f00:1"), AddressClass::Loopback);
        assert_eq!(class("64:ff9b::5db8:d70e"), AddressClass::Public, "where the cluster itself has IPv6 alone");
        // Retired forms and translation inside of one network.
        for address in ["::127.0.0.1", "::10.0.0.1", "2002:7f00:1::", "2001:0:a00:1::", "64:ff9b:1::a00:1"] {
            assert_eq!(class(address), AddressClass::Reserved, "{address}");
        }
    }

    #[test]
    fn the_ranges_of_the_cluster_are_refused_even_where_they_are_public() {
        let cluster = ranges(&["93.184.0.0/16", "2606:2800::/32"]);
        assert_eq!(judge("93.184.215.14".parse().unwrap(), &cluster, &[]), Err(AddressClass::Cluster));
        assert_eq!(judge("64:ff9b::5db8:d70e".parse().unwrap(), &cluster, &[]), Err(AddressClass::Cluster));
        assert_eq!(judge("2606:2800::1".parse().unwrap(), &cluster, &[]), Err(AddressClass::Cluster));
        assert_eq!(judge("8.8.8.8".parse().unwrap(), &cluster, &[]), Ok(Reach::Public));
    }

    #[test]
    fn a_listed_range_opens_itself_and_nothing_beside_it() {
        let listed = ranges(&["10.20.0.0/16"]);
        let cluster = ranges(&["10.0.0.0/8"]);
        assert_eq!(judge("10.20.0.1".parse().unwrap(), &cluster, &listed), Ok(Reach::Listed));
        assert_eq!(judge("::ffff:10.20.0.1".parse().unwrap(), &cluster, &listed), Ok(Reach::Listed));
        assert_eq!(judge("10.21.0.1".parse().unwrap(), &cluster, &listed), Err(AddressClass::Cluster));
        assert_eq!(judge("192.168.0.1".parse().unwrap(), &cluster, &listed), Err(AddressClass::Private));
    }

    #[test]
    fn credentials_of_the_node_and_the_gateway_itself_cannot_be_listed() {
        let everything = ranges(&["0.0.0.0/0", "::/0"]);
        for address in ["169.254.169.254", "127.0.0.1", "fd00:ec2::254", "::1", "168.63.129.16", "fe80::1", "0.0.0.0"] {
            let refused = judge(address.parse().unwrap(), &[], &everything);
            assert_eq!(refused, Err(class(address)), "{address}");
        }
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_never_judged_better_than_itself(bits in any::<u32>()) {
            let plain = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(AddressClass::of(plain.into()), AddressClass::of(plain.to_ipv6_mapped().into()));
        }

        #[test]
        fn the_standard_library_agrees_on_what_is_not_public(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            let special = address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast()
                || address.is_broadcast() || address.is_documentation() || address.is_unspecified();
            prop_assert!(!special || AddressClass::of(address.into()) != AddressClass::Public);
        }
    }
}
