//! Who is connected: so many in all, fewer of one address, and nobody for long who does not say who it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Operators are few.
const ALL_MAX: usize = 128;
/// Several may sit behind one address.
const OF_ONE_MAX: usize = 32;
/// Until a first request with a token that holds.
const STRANGER_LASTS: Duration = Duration::from_secs(20);
/// The longest wait for nodes is shorter.
const GUEST_LASTS: Duration = Duration::from_secs(2 * 3_600);

#[derive(Default)]
struct Counted {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

#[derive(Clone, Default)]
pub struct Guests(Arc<Mutex<Counted>>);

/// One connection. Dropped, its place is free.
pub struct Guest {
    guests: Guests,
    address: IpAddr,
    known: Known,
}

/// Whether it has shown who it is.
#[derive(Clone, Default)]
pub struct Known(Arc<AtomicBool>);

impl Known {
    pub fn introduce(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Guests {
    /// `None`: there are too many.
    pub fn come(&self, address: IpAddr) -> Option<Guest> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = counted.of.get(&address).copied().unwrap_or(0);
        if counted.all >= ALL_MAX || of_one >= OF_ONE_MAX {
            return None;
        }
        counted.all += 1;
        counted.of.insert(address, of_one + 1);
        Some(Guest { guests: self.clone(), address, known: Known::default() })
    }
}

impl Guests {
    /// Until nobody is connected.
    pub async fn gone(&self) {
        while self.0.lock().unwrap_or_else(PoisonError::into_inner).all > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Guest {
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Until the connection has lasted long enough, whatever it is doing.
    pub async fn outstays(&self) {
        self.outstays_these(STRANGER_LASTS, GUEST_LASTS).await;
    }

    async fn outstays_these(&self, stranger: Duration, guest: Duration) {
        tokio::time::sleep(stranger).await;
        if self.known.0.load(Ordering::Relaxed) {
            tokio::time::sleep(guest).await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counted = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.all -= 1;
        if let Some(of_one) = counted.of.get_mut(&self.address) {
            *of_one -= 1;
            if *of_one == 0 {
                counted.of.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places() {
        let guests = Guests::default();
        let one = IpAddr::from([192, 0, 2, 1]);
        let held: Vec<_> = std::iter::from_fn(|| guests.come(one)).collect();
        assert_eq!(held.len(), OF_ONE_MAX);
        assert!(guests.come(IpAddr::from([192, 0, 2, 2])).is_some());
        drop(held);
        let all: Vec<_> = (0..=255).filter_map(|last| guests.come(IpAddr::from([192, 0, 2, last]))).collect();
        assert_eq!(all.len(), ALL_MAX);
        drop(all);
        assert!(guests.0.lock().unwrap().of.is_empty());
    }

    #[test]
    fn a_stranger_does_not_stay() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let guest = Guests::default().come(IpAddr::from([192, 0, 2, 1])).unwrap();
            let (short, long) = (Duration::from_millis(5), Duration::from_secs(30));
            assert!(tokio::time::timeout(long, guest.outstays_these(short, long)).await.is_ok());
            guest.known().introduce();
            assert!(tokio::time::timeout(20 * short, guest.outstays_these(short, long)).await.is_err());
        });
    }
}
