//! The control: a pod that no policy shuts off. In: whoever connects to its allowed port. Out: one line of JSON, which says what the
//! control reaches, among it the caller. It tries nothing that a caller could choose but the caller's own address.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    ALLOWED_PORT, DENIED_PORT, Route, Surroundings,
    reach::{self, PATIENCE},
};

/// How many callers are answered at once; the others wait.
const CALLERS: usize = 16;

/// How many callers are remembered.
const REMEMBERED: usize = 8;

/// Longest answer that is read.
const LONGEST: u64 = 16 * 1024;

/// What a control says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Its node.
    pub node: String,
    /// Its own address, behind whatever Service.
    pub address: IpAddr,
    /// The address of its node.
    pub node_address: IpAddr,
    /// Which of what stands around it reaches.
    pub reaches: Vec<Route>,
    /// Whether it reaches the caller's allowed port.
    pub reaches_caller: bool,
    /// Whether it reaches the caller's denied port.
    pub passes_to_caller: bool,
    /// Others that called and whose allowed port it reached.
    pub isolated: Vec<IpAddr>,
}

/// Serves until the process ends.
pub async fn run(surroundings: Surroundings) -> Result<()> {
    let listener = listen(ALLOWED_PORT).await?;
    tokio::spawn(greet(listen(DENIED_PORT).await?));
    let control = Arc::new(Control { surroundings, callers: Mutex::default(), turns: Semaphore::new(CALLERS) });
    println!("answering on port {ALLOWED_PORT}");
    accept(listener, move |stream, caller| {
        let control = Arc::clone(&control);
        async move { drop(control.answer(stream, caller).await) }
    })
    .await;
    Ok(())
}

struct Control {
    surroundings: Surroundings,
    /// The last that called.
    callers: Mutex<VecDeque<IpAddr>>,
    turns: Semaphore,
}

impl Control {
    async fn answer(&self, mut stream: TcpStream, caller: IpAddr) -> Result<()> {
        let _turn = self.turns.acquire().await?;
        let targets = self.surroundings.targets();
        let callers_ports = [ALLOWED_PORT, DENIED_PORT].map(|port| SocketAddr::new(caller, port));
        let (around, back) =
            tokio::join!(reach::each(targets.iter().map(|(_, target)| *target)), reach::each(callers_ports));
        let mut reaches: Vec<Route> =
            targets.iter().zip(around).filter(|(_, reached)| *reached).map(|((route, _), _)| *route).collect();
        reaches.dedup();
        let (reaches_caller, passes_to_caller) = (back.first() == Some(&true), back.get(1) == Some(&true));
        let answer = Answer {
            node: self.surroundings.node.clone(),
            address: stream.local_addr()?.ip().to_canonical(),
            node_address: self.surroundings.node_address,
            reaches,
            reaches_caller,
            passes_to_caller,
            isolated: self.others(caller, reaches_caller),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        timeout(PATIENCE, stream.write_all(&line)).await?.context("the caller has gone")
    }

    /// Who called before, and remembers this one if it can be reached.
    fn others(&self, caller: IpAddr, is_reached: bool) -> Vec<IpAddr> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|known| *known != caller);
        let others = callers.iter().copied().collect();
        if is_reached {
            callers.push_front(caller);
            callers.truncate(REMEMBERED);
        }
        others
    }
}

/// Asks a control. `None` if it is not reached or does not answer in time.
pub async fn ask(address: IpAddr) -> Option<Answer> {
    let asked = async {
        let stream = TcpStream::connect(SocketAddr::new(address, ALLOWED_PORT)).await?;
        let mut line = String::new();
        BufReader::new(stream.take(LONGEST)).read_line(&mut line).await?;
        anyhow::Ok(serde_json::from_str(&line)?)
    };
    // To come through, for the control's own tries, and for the way back.
    timeout(PATIENCE * 4, asked).await.ok()?.ok()
}

/// Listens on this port of every address of the pod.
pub(crate) async fn listen(port: u16) -> Result<TcpListener> {
    let bound = match TcpListener::bind(("::", port)).await {
        Ok(listener) => Ok(listener),
        // A pod may have no IPv6 at all.
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
    };
    bound.with_context(|| format!("cannot listen on port {port}"))
}

/// Lets everybody connect and closes at once: that they came so far says it all.
pub(crate) async fn greet(listener: TcpListener) {
    accept(listener, |stream, _| async move { drop(stream) }).await;
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    serve: impl Fn(TcpStream, IpAddr) -> F,
) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => drop(tokio::spawn(serve(stream, from.ip().to_canonical()))),
            // Such as too many open files: it passes.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}
