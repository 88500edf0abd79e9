// SPDX-License-Identifier: MIT OR Apache-2.0
// wanlink: a wide-area link on one machine.
//
// Makes two network namespaces joined by a pair of TUN devices and carries every IP packet between
// them itself, with a bottleneck rate, a propagation delay, a queue and a random loss. It acts on IP
// packets, so TCP, QUIC and VPNs all meet the same link, and it needs no kernel traffic control.
//
//   wanlink NAME [--rate MBIT] [--rtt MS] [--loss PERCENT] [--queue-ms MS] [--seed N]
//
// makes namespaces NAME-a (10.99.0.1) and NAME-b (10.99.0.2), prints "ready" and runs until SIGINT or
// SIGTERM, then prints per-direction counts and removes the namespaces. Needs root.
// SIGUSR1 cuts the link (every packet is dropped), SIGUSR2 restores it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { MTU = 1500, SLOTS = 1 << 16 };

struct packet { uint64_t deliver_ns; uint16_t len; uint8_t bytes[MTU + 36]; };

struct direction {
  int from, to;
  struct packet *ring;
  uint32_t head, tail;          // ring[head..tail) in order of delivery
  uint64_t link_free_ns;        // when the bottleneck finishes its last packet
  uint64_t rng, carried, bytes, lost, overflowed;
};

static double rate_mbit = 100, rtt_ms = 20, loss_pct = 0, queue_ms = 50;
static uint64_t seed = 1;
static volatile sig_atomic_t stop, cut;

static void on_signal(int s) { if (s == SIGUSR1) cut = 1; else if (s == SIGUSR2) cut = 0; else stop = 1; }

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static double uniform(uint64_t *s) {  // xorshift64*
  *s ^= *s >> 12; *s ^= *s << 25; *s ^= *s >> 27;
  return (double)((*s * 2685821657736338717ull) >> 11) / (double)(1ull << 53);
}

static void die(const char *what) { perror(what); exit(1); }

static void sh(const char *fmt, const char *a, const char *b) {
  char cmd[512];
  snprintf(cmd, sizeof cmd, fmt, a, b);
  if (system(cmd) != 0) { fprintf(stderr, "wanlink: failed: %s\n", cmd); exit(1); }
}

static int open_tun(const char *ns, const char *dev, const char *addr) {
  char path[128];
  int home = open("/proc/self/ns/net", O_RDONLY);
  snprintf(path, sizeof path, "/var/run/netns/%s", ns);
  int there = open(path, O_RDONLY);
  if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0) die("enter namespace");
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  if (fd < 0) die("/dev/net/tun");
  struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  snprintf(ifr.ifr_name, IFNAMSIZ, "%s", dev);
  if (ioctl(fd, TUNSETIFF, &ifr) < 0) die("TUNSETIFF");
  sh("ip addr add %s/24 dev %s", addr, dev);
  sh("ip link set %s up mtu 1500%s", dev, "");
  sh("ip link set lo up%s%s", "", "");
  sh("ip link set %s txqueuelen 4000%s", dev, "");
  if (setns(home, CLONE_NEWNET) < 0) die("leave namespace");
  close(home); close(there);
  return fd;
}

static void take(struct direction *d) {
  for (int burst = 0; burst < 256; burst++) {
    struct packet *p = &d->ring[d->tail % SLOTS];
    ssize_t n = read(d->from, p->bytes, sizeof p->bytes);
    if (n <= 0) return;
    uint64_t now = now_ns();
    uint64_t start = d->link_free_ns > now ? d->link_free_ns : now;
    if (cut || uniform(&d->rng) * 100 < loss_pct) { d->lost++; continue; }
    if (start - now > (uint64_t)(queue_ms * 1e6) || d->tail - d->head == SLOTS - 1) { d->overflowed++; continue; }
    d->link_free_ns = start + (uint64_t)((double)n * 8000.0 / rate_mbit);
    p->deliver_ns = d->link_free_ns + (uint64_t)(rtt_ms * 0.5e6);
    p->len = n;
    d->tail++;
  }
}

static void deliver(struct direction *d) {
  uint64_t now = now_ns();
  while (d->head != d->tail) {
    struct packet *p = &d->ring[d->head % SLOTS];
    if (p->deliver_ns > now) return;
    if (write(d->to, p->bytes, p->len) < 0 && errno == EAGAIN) return;
    d->carried++; d->bytes += p->len;
    d->head++;
  }
}

int main(int argc, char **argv) {
  if (argc < 2 || argv[1][0] == '-') {
    fprintf(stderr, "usage: wanlink NAME [--rate MBIT] [--rtt MS] [--loss PERCENT] [--queue-ms MS] [--seed N]\n");
    return 2;
  }
  for (int i = 2; i < argc; i += 2) {
    if (i + 1 >= argc) { fprintf(stderr, "wanlink: %s needs a value\n", argv[i]); return 2; }
    double v = atof(argv[i + 1]);
    if (!strcmp(argv[i], "--rate")) rate_mbit = v;
    else if (!strcmp(argv[i], "--rtt")) rtt_ms = v;
    else if (!strcmp(argv[i], "--loss")) loss_pct = v;
    else if (!strcmp(argv[i], "--queue-ms")) queue_ms = v;
    else if (!strcmp(argv[i], "--seed")) seed = (uint64_t)v;
    else { fprintf(stderr, "wanlink: unknown option %s\n", argv[i]); return 2; }
  }
  struct sigaction sa = {.sa_handler = on_signal};
  int sigs[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
  for (unsigned i = 0; i < 4; i++) sigaction(sigs[i], &sa, NULL);

  char a[64], b[64];
  snprintf(a, sizeof a, "%s-a", argv[1]);
  snprintf(b, sizeof b, "%s-b", argv[1]);
  sh("ip netns del %s 2>/dev/null; ip netns del %s 2>/dev/null; true", a, b);
  sh("ip netns add %s && ip netns add %s", a, b);
  int fa = open_tun(a, "wan0", "10.99.0.1"), fb = open_tun(b, "wan0", "10.99.0.2");
  struct direction ab = {.from = fa, .to = fb, .rng = seed * 2654435761u + 1};
  struct direction ba = {.from = fb, .to = fa, .rng = seed * 40503u + 77};
  ab.ring = calloc(SLOTS, sizeof *ab.ring);
  ba.ring = calloc(SLOTS, sizeof *ba.ring);
  if (!ab.ring || !ba.ring) die("calloc");
  printf("ready\n");
  fflush(stdout);

  while (!stop) {
    struct pollfd p[2] = {{fa, POLLIN, 0}, {fb, POLLIN, 0}};
    uint64_t next = UINT64_MAX, now = now_ns();
    if (ab.head != ab.tail) next = ab.ring[ab.head % SLOTS].deliver_ns;
    if (ba.head != ba.tail && ba.ring[ba.head % SLOTS].deliver_ns < next) next = ba.ring[ba.head % SLOTS].deliver_ns;
    uint64_t wait = next == UINT64_MAX ? 200000000u : next > now ? next - now : 0;
    struct timespec t = {.tv_sec = wait / 1000000000u, .tv_nsec = wait % 1000000000u};
    ppoll(p, 2, &t, NULL);
    take(&ab); take(&ba);
    deliver(&ab); deliver(&ba);
  }
  fprintf(stderr, "a>b carried %lu packets %lu bytes, lost %lu, overflowed %lu\n", ab.carried, ab.bytes, ab.lost, ab.overflowed);
  fprintf(stderr, "b>a carried %lu packets %lu bytes, lost %lu, overflowed %lu\n", ba.carried, ba.bytes, ba.lost, ba.overflowed);
  sh("ip netns del %s; ip netns del %s", a, b);
  return 0;
}
