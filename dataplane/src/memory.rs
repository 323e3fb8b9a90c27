//! One budget of memory for everything that a stranger can make us hold: collected bodies, answers, unfinished events.
//!
//! It sheds in steps, so that what runs can finish: from 90 % on connections are not kept, from 95 % on new streams are
//! refused, from 98 % on everything is.
//!
//! Bodies that callers send have less: all of them together half of the budget, and each key and each address a share of
//! it, so that nobody can send large ones slowly until the others have no room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use weir_shared::key::KeyId;

static HELD: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(1 << 30);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pressure {
    None,
    KeepNoConnections,
    RefuseStreams,
    RefuseAll,
}

pub fn set_limit(bytes: u64) {
    LIMIT.store(bytes.max(1), Ordering::Relaxed);
}

pub fn held() -> u64 {
    HELD.load(Ordering::Relaxed)
}

pub fn limit() -> u64 {
    LIMIT.load(Ordering::Relaxed)
}

pub fn pressure() -> Pressure {
    pressure_of(held(), limit())
}

fn pressure_of(held: u64, limit: u64) -> Pressure {
    match held.saturating_mul(1_000) / limit.max(1) {
        0..900 => Pressure::None,
        900..950 => Pressure::KeepNoConnections,
        950..980 => Pressure::RefuseStreams,
        _ => Pressure::RefuseAll,
    }
}

/// So many bytes of the budget; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Hold {
    bytes: u64,
    /// Whose shares they count against, and how many of them: only bodies have owners.
    owners: Option<[Owner; 2]>,
    owned: u64,
}

/// Whose body it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Owner {
    Key(KeyId),
    Address(IpAddr),
}

impl Owner {
    /// The part of the budget, as one of so many, that all bodies of one owner may take. An address has more than a key:
    /// many keys may live behind one.
    fn one_of(self) -> u64 {
        match self {
            Self::Key(_) => 8,
            Self::Address(_) => 4,
        }
    }
}

/// What owners hold now. Asked only when a body outgrows its connection's buffer, and then at each doubling; an owner
/// who holds nothing has no entry.
static SHARES: Mutex<Option<HashMap<Owner, u64>>> = Mutex::new(None);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl Hold {
    /// For the body of a request.
    pub fn of_body(key: KeyId, address: IpAddr) -> Self {
        Self { owners: Some([Owner::Key(key), Owner::Address(network(address))]), ..Self::default() }
    }

    /// For bodies that are still coming: half of the budget at most for all of them together, so that whoever sends large
    /// ones slowly cannot keep the others from being answered, and of it the owners' shares.
    pub fn grow_body_to(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(()) };
        if held().saturating_add(more) > limit() / 2 {
            return Err(OutOfMemory);
        }
        self.grow_shares(more)?;
        self.grow_to(bytes)
    }

    /// Grows (never shrinks) to `bytes`, or leaves everything as it was.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(()) };
        let limit = limit();
        let take = |held: u64| held.checked_add(more).filter(|held| *held <= limit);
        HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| OutOfMemory)?;
        self.bytes = bytes;
        Ok(())
    }

    fn grow_shares(&mut self, more: u64) -> Result<(), OutOfMemory> {
        let Some(owners) = self.owners else { return Ok(()) };
        let mut shares = SHARES.lock().unwrap_or_else(PoisonError::into_inner);
        let shares = shares.get_or_insert_default();
        let fits =
            |owner: &Owner| shares.get(owner).copied().unwrap_or(0).saturating_add(more) <= limit() / owner.one_of();
        if !owners.iter().all(fits) {
            return Err(OutOfMemory);
        }
        for owner in owners {
            *shares.entry(owner).or_default() += more;
        }
        self.owned += more;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.bytes > 0 {
            HELD.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        let (Some(owners), true) = (self.owners, self.owned > 0) else { return };
        let mut shares = SHARES.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shares) = shares.as_mut() else { return };
        for owner in owners {
            let left = shares.get(&owner).copied().unwrap_or(0).saturating_sub(self.owned);
            if left == 0 {
                shares.remove(&owner);
            } else {
                shares.insert(owner, left);
            }
        }
    }
}

/// One customer of an IPv6 network has all of the addresses below its first 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The budget is the process's: only one test at a time may look at it.
    static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn what_is_held_comes_back_and_the_limit_holds() {
        let _alone = ALONE.lock();
        let before = held();
        let mut hold = Hold::default();
        assert_eq!(hold.grow_to(1_000), Ok(()));
        assert_eq!(hold.grow_to(500), Ok(()));
        assert_eq!(held() - before, 1_000);
        assert_eq!(hold.grow_to(limit() + 1), Err(OutOfMemory));
        drop(hold);
        assert_eq!(held(), before);
    }

    #[test]
    fn a_key_and_an_address_have_shares_of_their_own() {
        let _alone = ALONE.lock();
        let hold = |key: u8, address: u8| Hold::of_body(KeyId([key; 8]), IpAddr::from([192, 0, 2, address]));
        let eighth = limit() / 8;
        let mut first = hold(1, 1);
        assert_eq!(first.grow_body_to(eighth + 1), Err(OutOfMemory));
        assert_eq!(first.grow_body_to(eighth / 2), Ok(()));
        assert_eq!(first.grow_body_to(eighth), Ok(()));
        // The same key from elsewhere; other keys from the same address, until that has had its quarter.
        assert_eq!(hold(1, 2).grow_body_to(1), Err(OutOfMemory));
        let mut second = hold(2, 1);
        assert_eq!(second.grow_body_to(eighth), Ok(()));
        assert_eq!(hold(3, 1).grow_body_to(1), Err(OutOfMemory));
        drop(first);
        assert_eq!(hold(3, 1).grow_body_to(eighth), Ok(()));
        drop(second);
        assert_eq!(SHARES.lock().unwrap().as_ref().map(HashMap::len), Some(0));
        let near = |text: &str| network(text.parse().unwrap());
        assert_eq!(near("2001:db8:1:2:3::4"), near("2001:db8:1:2::9"));
        assert_ne!(near("2001:db8:1:2::9"), near("2001:db8:1:3::9"));
    }

    #[test]
    fn pressure_rises_in_steps() {
        let steps = [0, 899, 900, 949, 950, 979, 980, 2_000].map(|held| pressure_of(held, 1_000));
        use Pressure::*;
        let expected =
            [None, None, KeepNoConnections, KeepNoConnections, RefuseStreams, RefuseStreams, RefuseAll, RefuseAll];
        assert_eq!(steps, expected);
    }
}
