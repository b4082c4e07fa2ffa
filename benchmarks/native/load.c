/* A load generator for any framing: it is given the octets of one request and of the reply to it.
 *
 *     load --port P --request FILE --reply FILE [--connections N] [--window W] [--churn]
 *          [--count TOTAL] [--seconds S] [--patience S]
 *
 * Keeps W requests under way on each connection until TOTAL are asked or S seconds are over, takes the rest of
 * the replies, and prints one line of JSON.  Every octet of every reply is compared.  With --churn a connection
 * carries one request and is closed.  Exits with 1, and a line on stderr, at a wrong octet, at an end that is
 * too early, and when nothing comes for the patience.
 *
 * A latency is that of the last request in a write, from the write to its last octet; with a window of 1 these
 * are all requests.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 20 };

/* As many copies of one frame as fill a chunk, so that many are written, or compared, at once. */
struct frames {
    uint8_t *octets;
    size_t one, all;
};

struct connection {
    int fd;
    uint32_t events;
    uint64_t asked;          /* requests begun: those before `sent`, and the one that it is in */
    uint64_t sent, received; /* octets */
    uint64_t marked;         /* replies that end the request whose latency is taken; 0: none is */
    double marked_at;
};

static struct {
    int port, connections, churn;
    uint64_t window, count;
    double seconds, patience;
} given = {.connections = 1, .window = 1, .count = UINT64_MAX, .seconds = 1e9, .patience = 20};

static struct frames requests, replies;
static uint8_t *input;
static int poller;
static uint64_t asked, answered;
static double started;
static int over; /* no more requests are begun */
static double *latencies;
static size_t samples, sample_room;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static struct frames repeat(const char *path)
{
    struct frames frames;
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        fail(path);
    frames.one = ftell(file);
    rewind(file);
    size_t copies = frames.one < CHUNK ? CHUNK / (frames.one ? frames.one : 1) : 1;
    frames.all = copies * frames.one;
    frames.octets = malloc(frames.all);
    if (!frames.octets || !frames.one || fread(frames.octets, 1, frames.one, file) != frames.one)
        fail(path);
    fclose(file);
    for (size_t i = 1; i < copies; i++)
        memcpy(frames.octets + i * frames.one, frames.octets, frames.one);
    return frames;
}

static void take_latency(double seconds)
{
    if (samples == sample_room) {
        sample_room = sample_room ? sample_room * 2 : 4096;
        latencies = realloc(latencies, sample_room * sizeof *latencies);
        if (!latencies)
            fail("realloc");
    }
    latencies[samples++] = seconds;
}

static void watch(struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (events == connection->events)
        return;
    if (epoll_ctl(poller, connection->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, connection->fd, &event))
        fail("epoll_ctl");
    connection->events = events;
}

static void open_connection(struct connection *connection)
{
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(given.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memset(connection, 0, sizeof *connection);
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0)
        fail("socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address))
        fail("connect");
}

/* Begins as many requests as the window and the count allow. */
static void ask_more(struct connection *connection)
{
    uint64_t finished = connection->received / replies.one;
    uint64_t more = given.window - (connection->asked - finished);
    if (given.churn && connection->asked)
        more = 0;
    if (more > given.count - asked)
        more = given.count - asked;
    if (over)
        more = 0;
    connection->asked += more;
    asked += more;
}

static void write_requests(struct connection *connection)
{
    ask_more(connection);
    uint64_t end = connection->asked * requests.one;
    while (connection->sent < end) {
        size_t from = connection->sent % requests.one, left = end - connection->sent;
        if (left > requests.all - from)
            left = requests.all - from;
        double at = now();
        ssize_t sent = send(connection->fd, requests.octets + from, left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            fail("send");
        if (sent < 0) {
            watch(connection, EPOLLIN | EPOLLOUT);
            return;
        }
        connection->sent += sent;
        if (!connection->marked && connection->sent % requests.one == 0) {
            connection->marked = connection->sent / requests.one;
            connection->marked_at = at;
        }
    }
    watch(connection, EPOLLIN);
}

static void compare(const struct connection *connection, const uint8_t *octets, size_t size)
{
    uint64_t position = connection->received;
    while (size) {
        size_t from = position % replies.one, part = replies.all - from;
        if (part > size)
            part = size;
        if (memcmp(octets, replies.octets + from, part)) {
            size_t at = 0;
            while (octets[at] == replies.octets[from + at])
                at++;
            fprintf(stderr, "load: reply %llu of a connection is wrong: octet %llu is %02x instead of %02x\n",
                    (unsigned long long)((position + at) / replies.one),
                    (unsigned long long)((position + at) % replies.one), octets[at], replies.octets[from + at]);
            exit(1);
        }
        octets += part;
        position += part;
        size -= part;
    }
}

static void read_replies(struct connection *connection)
{
    ssize_t count = recv(connection->fd, input, CHUNK, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count < 0)
        fail("recv");
    if (!count) {
        fprintf(stderr, "load: the server closed a connection with replies outstanding\n");
        exit(1);
    }
    compare(connection, input, count);
    uint64_t before = connection->received / replies.one;
    connection->received += count;
    uint64_t finished = connection->received / replies.one;
    answered += finished - before;
    if (connection->received > connection->asked * replies.one) {
        fprintf(stderr, "load: the server sent more than it was asked for\n");
        exit(1);
    }
    if (connection->marked && finished >= connection->marked) {
        take_latency(now() - connection->marked_at);
        connection->marked = 0;
    }
}

/* With --churn, a new connection in the place of one that has done its work. */
static void renew(struct connection *connection)
{
    if (!given.churn || over || asked == given.count || connection->received < replies.one)
        return;
    close(connection->fd);
    open_connection(connection);
}

static void serve(struct connection *connection, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_replies(connection);
        renew(connection);
    }
    write_requests(connection);
}

static int ascending(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void report(double seconds)
{
    qsort(latencies, samples, sizeof *latencies, ascending);
    printf("{\"seconds\": %.9f, \"count\": %llu, \"octets\": %llu, \"min\": %.9f, \"p50\": %.9f, \"p99\": %.9f}\n",
           seconds, (unsigned long long)answered, (unsigned long long)(answered * (requests.one + replies.one)),
           latencies[0], latencies[samples / 2], latencies[(size_t)(samples * 0.99)]);
}

static void run(struct connection *connections)
{
    struct epoll_event ready[256];
    started = now();
    for (int i = 0; i < given.connections; i++)
        write_requests(&connections[i]);
    while (answered < asked) {
        int count = epoll_wait(poller, ready, 256, (int)(given.patience * 1000));
        if (!count) {
            fprintf(stderr, "load: no octet for %g seconds, with %llu replies outstanding\n", given.patience,
                    (unsigned long long)(asked - answered));
            exit(1);
        }
        over = over || now() - started >= given.seconds;
        for (int i = 0; i < count; i++)
            serve(ready[i].data.ptr, ready[i].events);
    }
    report(now() - started);
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'},    {"connections", 1, 0, 'n'}, {"window", 1, 0, 'w'},
        {"count", 1, 0, 'c'},   {"seconds", 1, 0, 's'},     {"patience", 1, 0, 't'},
        {"request", 1, 0, 'q'}, {"reply", 1, 0, 'r'},       {"churn", 0, 0, 'u'},    {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'p': given.port = atoi(optarg); break;
        case 'n': given.connections = atoi(optarg); break;
        case 'w': given.window = strtoull(optarg, NULL, 10); break;
        case 'c': given.count = strtoull(optarg, NULL, 10); break;
        case 's': given.seconds = atof(optarg); break;
        case 't': given.patience = atof(optarg); break;
        case 'q': requests = repeat(optarg); break;
        case 'r': replies = repeat(optarg); break;
        case 'u': given.churn = 1; break;
        default: exit(2);
        }
    }
    if (!given.port || !requests.one || !replies.one || given.connections < 1 || given.window < 1 || given.count < 1) {
        fprintf(stderr, "load: --port, --request and --reply are needed; the numbers are at least 1\n");
        exit(2);
    }
    if (given.churn)
        given.window = 1;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    read_options(argc, argv);
    input = malloc(CHUNK);
    poller = epoll_create1(0);
    struct connection *connections = calloc(given.connections, sizeof *connections);
    if (!input || !connections)
        fail("malloc");
    for (int i = 0; i < given.connections; i++)
        open_connection(&connections[i]);
    run(connections);
}
