//! The first second of a pod. In: what it must not reach. Out: what it reached all the same, before policies took hold.
//!
//! Only a pod that is new can tell, so what was found is kept for as long as the pod lives: its program may be started again.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use futures::future::join_all;
use tokio::time::{Instant, interval};

use crate::{Route, reach};

/// What counts as the first moment.
const MOMENT: Duration = Duration::from_secs(1);

/// How often each is tried in it.
const PACE: Duration = Duration::from_millis(50);

/// What got through in the pod's first second: from `file`, or tried now and kept there.
pub async fn of(file: &Path, targets: &[(Route, SocketAddr)]) -> Result<Vec<Route>> {
    if let Ok(kept) = std::fs::read(file) {
        return serde_json::from_slice(&kept).with_context(|| format!("{} cannot be read", file.display()));
    }
    let mut passed: Vec<Route> =
        join_all(targets.iter().map(async |(route, target)| passes(*target).await.then_some(*route)))
            .await
            .into_iter()
            .flatten()
            .collect();
    passed.dedup();
    std::fs::write(file, serde_json::to_vec(&passed)?).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(passed)
}

/// Tries again and again, without waiting for what was tried before: an enforcer that drops packets holds each try up.
async fn passes(target: SocketAddr) -> bool {
    let end = Instant::now() + MOMENT;
    let (mut tries, mut pace) = (Vec::new(), interval(PACE));
    while Instant::now() < end {
        pace.tick().await;
        tries.push(tokio::spawn(reach::reaches(target, MOMENT)));
    }
    join_all(tries).await.into_iter().any(|reached| matches!(reached, Ok(true)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_gets_through_once_is_remembered_when_the_program_starts_again() {
        let folder = std::env::temp_dir().join(format!("steading-first-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("first-moment");
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shut = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let targets = [(Route::ApiServer, shut.local_addr().unwrap()), (Route::Service, open.local_addr().unwrap())];
        drop(shut);
        assert_eq!(of(&file, &targets).await.unwrap(), [Route::Service]);
        drop(open);
        assert_eq!(of(&file, &targets).await.unwrap(), [Route::Service]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
