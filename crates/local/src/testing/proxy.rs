//! A TCP proxy that breaks the links that lead through it, and mends them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::or_fail;
use crate::ports;

/// As much is forwarded at once.
const CHUNK: usize = 16 << 10;
/// A slow link forwards its bytes in so many portions a second.
const PORTIONS: u64 = 20;
const BACKLOG: u32 = 128;
/// Until a port that was just given up can be taken again.
const AGAIN: Duration = Duration::from_millis(5);

/// What the proxy does with connections, old and new, until it is told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Forwards.
    Open,
    /// Refuses new connections; the ones there were are closed.
    Cut,
    /// Accepts, but forwards nothing in either direction. What was on the way goes on when the link opens.
    Stalled,
    /// Forwards so many bytes a second, at most, in each direction of each connection.
    Slow(u64),
}

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who connected.
    Client,
    /// Whom the proxy leads to.
    Server,
}

/// A proxy on a port of the loopback address that leads to another one. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    settings: watch::Sender<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    target: u16,
    link: Link,
    /// What happened to the connections that there were; a connection knows how many were before its time.
    breaks: Vec<Break>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Break {
    Close,
    Reset,
    /// This side is gone, and the other one is not told.
    Lose(Side),
}

impl Proxy {
    /// Leads to this port. To be made within a runtime, which it ends with.
    pub fn to(target: u16) -> Self {
        let proxy = Self::unconnected();
        proxy.lead_to(target);
        proxy
    }

    /// Leads nowhere yet: for a server that must know the proxy's port when it starts.
    pub fn unconnected() -> Self {
        let port = or_fail(ports::find_free(&[]));
        let (settings, watched) =
            watch::channel(Settings { target: 0, link: Link::Open, breaks: Vec::new() });
        let listener = or_fail(listen(port));
        tokio::spawn(serve(port, listener, watched));
        Self { port, settings }
    }

    /// Leads new connections to this port.
    pub fn lead_to(&self, target: u16) {
        self.settings.send_modify(|settings| settings.target = target);
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the link, for the connections that there are too.
    pub fn set(&self, link: Link) {
        self.settings.send_modify(|settings| {
            settings.link = link;
            if link == Link::Cut {
                settings.breaks.push(Break::Close);
            }
        });
    }

    /// Ends all connections by RST, as a host does that knows nothing of them. New ones are forwarded.
    pub fn reset(&self) {
        self.settings.send_modify(|settings| settings.breaks.push(Break::Reset));
    }

    /// Leaves all connections half open: this side is closed, and the other one never hears of it, nor of anything
    /// else. New ones are forwarded.
    pub fn lose(&self, side: Side) {
        self.settings.send_modify(|settings| settings.breaks.push(Break::Lose(side)));
    }
}

fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

fn listen(port: u16) -> io::Result<TcpListener> {
    bind(port)?.listen(BACKLOG)
}

/// Where clients knock.
enum Door {
    Open(TcpListener),
    /// Bound, so that the port stays ours, but not listening: the kernel refuses.
    Closed(TcpSocket),
}

async fn serve(port: u16, listener: TcpListener, mut settings: watch::Receiver<Settings>) {
    let mut connections = JoinSet::new();
    let mut door = Door::Open(listener);
    loop {
        let cut = settings.borrow_and_update().link == Link::Cut;
        door = or_fail(turn(door, port, cut).await);
        tokio::select! { biased;
            changed = settings.changed() => if changed.is_err() { return },
            Ok((client, _)) = accept(&door) => {
                let born = settings.borrow().breaks.len();
                connections.spawn(carry(client, settings.clone(), born));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn turn(door: Door, port: u16, cut: bool) -> io::Result<Door> {
    match door {
        Door::Open(listener) if cut => {
            drop(listener);
            loop {
                match bind(port) {
                    Ok(socket) => return Ok(Door::Closed(socket)),
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(AGAIN).await,
                    Err(error) => return Err(error),
                }
            }
        }
        Door::Closed(socket) if !cut => socket.listen(BACKLOG).map(Door::Open),
        door => Ok(door),
    }
}

async fn accept(door: &Door) -> io::Result<(TcpStream, SocketAddr)> {
    match door {
        Door::Open(listener) => listener.accept().await,
        Door::Closed(_) => std::future::pending().await,
    }
}

/// The life of one connection.
async fn carry(mut client: TcpStream, settings: watch::Receiver<Settings>, born: usize) {
    let mut breaks = settings.clone();
    let mut server = tokio::select! {
        server = connect(settings.clone()) => match server {
            Ok(server) => server,
            Err(_) => return drop(client.set_zero_linger()),
        },
        broken = broken(&mut breaks, born) => return part(broken, client, None).await,
    };
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            _ = async { tokio::try_join!(
                pump(from_client, to_server, settings.clone()),
                pump(from_server, to_client, settings.clone()),
            ) } => return,
            broken = broken(&mut breaks, born) => broken,
        }
    };
    part(broken, client, Some(server)).await;
}

async fn connect(mut settings: watch::Receiver<Settings>) -> io::Result<TcpStream> {
    opened(&mut settings).await?;
    let target = settings.borrow().target;
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// Waits for the next thing that breaks a connection which has seen so many of them.
async fn broken(settings: &mut watch::Receiver<Settings>, born: usize) -> Break {
    match settings.wait_for(|settings| settings.breaks.len() > born).await {
        Ok(settings) => settings.breaks[born],
        // The proxy is gone; its tasks are ended.
        Err(_) => Break::Close,
    }
}

async fn part(broken: Break, client: TcpStream, server: Option<TcpStream>) {
    match broken {
        Break::Close => {}
        Break::Reset => {
            drop(client.set_zero_linger());
            drop(server.map(|server| server.set_zero_linger()));
        }
        Break::Lose(Side::Server) => {
            drop(server);
            stay(client).await;
        }
        Break::Lose(Side::Client) => {
            drop(client);
            if let Some(server) = server {
                stay(server).await;
            }
        }
    }
}

/// Keeps a socket open, and neither reads nor writes.
async fn stay(socket: TcpStream) {
    std::future::pending::<()>().await;
    drop(socket);
}

/// Waits until the link forwards; says how fast.
async fn opened(settings: &mut watch::Receiver<Settings>) -> io::Result<Option<u64>> {
    let forwards = |settings: &Settings| matches!(settings.link, Link::Open | Link::Slow(_));
    let settings = settings.wait_for(forwards).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    Ok(if let Link::Slow(bytes_per_s) = settings.link { Some(bytes_per_s.max(PORTIONS)) } else { None })
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut settings: watch::Receiver<Settings>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let speed = opened(&mut settings).await?;
        let portion = speed.map_or(CHUNK, |speed| usize::try_from(speed / PORTIONS).unwrap_or(CHUNK));
        let count = from.read(&mut buffer[..portion.clamp(1, CHUNK)]).await?;
        if count == 0 {
            opened(&mut settings).await?;
            return to.shutdown().await;
        }
        if let Some(speed) = opened(&mut settings).await? {
            let takes = Duration::from_secs_f64(count as f64 / speed as f64);
            // Not longer than the link is slow.
            drop(tokio::time::timeout(takes, settings.changed()).await);
            opened(&mut settings).await?;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    /// Nothing comes within this time, although it could at once.
    const SILENCE: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_secs(20);

    /// A server that answers with what it is sent, behind a proxy.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        Proxy::to(port)
    }

    async fn client(proxy: &Proxy) -> io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<[u8; 4]> {
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    /// Whether a question is answered within the limit.
    async fn answers(stream: &mut TcpStream) -> bool {
        timeout(LIMIT, ask(stream)).await.unwrap().is_ok_and(|answer| &answer == b"ping")
    }

    async fn is_silent(stream: &mut TcpStream) -> bool {
        timeout(SILENCE, stream.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn it_forwards() {
        let proxy = echo().await;
        assert!(answers(&mut client(&proxy).await.unwrap()).await);
    }

    #[tokio::test]
    async fn a_cut_closes_and_refuses_until_it_is_mended() {
        let proxy = echo().await;
        let mut before = client(&proxy).await.unwrap();
        assert!(answers(&mut before).await);
        proxy.set(Link::Cut);
        assert_eq!(
            timeout(LIMIT, before.read_u8()).await.unwrap().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let refused = async {
            loop {
                match client(&proxy).await {
                    Err(error) => return error.kind(),
                    Ok(stream) => drop(stream),
                }
            }
        };
        assert_eq!(timeout(LIMIT, refused).await.unwrap(), io::ErrorKind::ConnectionRefused);
        proxy.set(Link::Open);
        let mended = async {
            while client(&proxy).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, mended).await.unwrap();
        assert!(answers(&mut client(&proxy).await.unwrap()).await);
    }

    #[tokio::test]
    async fn a_reset_is_one() {
        let proxy = echo().await;
        let mut before = client(&proxy).await.unwrap();
        assert!(answers(&mut before).await);
        proxy.reset();
        let error = timeout(LIMIT, before.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(answers(&mut client(&proxy).await.unwrap()).await);
    }

    #[tokio::test]
    async fn a_stall_holds_what_is_on_the_way() {
        let proxy = echo().await;
        let mut before = client(&proxy).await.unwrap();
        assert!(answers(&mut before).await);
        proxy.set(Link::Stalled);
        let mut later = client(&proxy).await.unwrap();
        for stream in [&mut before, &mut later] {
            stream.write_all(b"ping").await.unwrap();
            assert!(is_silent(stream).await);
        }
        proxy.set(Link::Open);
        for stream in [&mut before, &mut later] {
            let mut answer = [0; 4];
            timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap().unwrap();
            assert_eq!(&answer, b"ping");
        }
    }

    #[tokio::test]
    async fn half_open_is_silent_on_the_side_that_is_left() {
        let proxy = echo().await;
        let mut before = client(&proxy).await.unwrap();
        assert!(answers(&mut before).await);
        proxy.lose(Side::Server);
        assert!(answers(&mut client(&proxy).await.unwrap()).await);
        before.write_all(b"ping").await.unwrap();
        assert!(is_silent(&mut before).await);
        let mut other = client(&proxy).await.unwrap();
        assert!(answers(&mut other).await);
        proxy.lose(Side::Client);
        assert_eq!(
            timeout(LIMIT, other.read_u8()).await.unwrap().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert!(is_silent(&mut before).await);
    }

    #[tokio::test]
    async fn a_slow_link_takes_its_time() {
        let proxy = echo().await;
        let mut stream = client(&proxy).await.unwrap();
        assert!(answers(&mut stream).await);
        proxy.set(Link::Slow(20_000));
        let started = Instant::now();
        stream.write_all(&[7; 6_000]).await.unwrap();
        let mut answer = vec![0; 6_000];
        timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
    }
}
