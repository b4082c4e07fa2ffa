/* The limit that other servers are measured against: Framelet's REQUEST and REPLY, one thread, epoll.
 *
 *     limit_server [echo]
 *
 * Prints "listening PORT".  Answers every REQUEST with its text reversed, an ill-formed one with ERROR 400,
 * and closes at any other frame.  A turn is one recv, all whole frames in it, one send.  With "echo" the text
 * is sent back as it is, unread: what the transport alone costs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST = 1, REPLY = 2, ERROR = 5, HEADER = 5, TURN = 256 << 10, MAX_BODY = 64 << 20 };

static const char ILL_FORMED[] = "400 the body is not well-formed UTF-8";

struct buffer {
    uint8_t *octets;
    size_t size, room;
};

/* Only what waits for the rest of a frame, or for the client to take it, is kept with a connection. */
struct connection {
    int fd;
    struct buffer input; /* the frame under way */
    struct buffer unsent;
    size_t sent;
};

static struct buffer turn_input, turn_output;
static int poller, echo;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void reserve(struct buffer *buffer, size_t more)
{
    size_t wanted = buffer->size + more;
    if (wanted <= buffer->room)
        return;
    if (wanted < buffer->room * 2)
        wanted = buffer->room * 2;
    buffer->octets = realloc(buffer->octets, wanted);
    if (!buffer->octets)
        fail("realloc");
    buffer->room = wanted;
}

static void append(struct buffer *buffer, const void *octets, size_t count)
{
    reserve(buffer, count);
    memcpy(buffer->octets + buffer->size, octets, count);
    buffer->size += count;
}

static uint32_t body_length(const uint8_t *header)
{
    return (uint32_t)header[1] << 24 | header[2] << 16 | header[3] << 8 | header[4];
}

static void write_header(uint8_t *at, uint8_t type, uint32_t length)
{
    at[0] = type;
    at[1] = length >> 24;
    at[2] = length >> 16;
    at[3] = length >> 8;
    at[4] = length;
}

/* The octets of the well-formed sequence at `at` (table 3-7 of the Unicode Standard), or 0. */
static inline size_t sequence(const uint8_t *at, size_t left)
{
    uint8_t first = at[0], low = 0x80, high = 0xBF;
    size_t count;
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    count = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (left < count)
        return 0;
    if (first == 0xE0)
        low = 0xA0;
    else if (first == 0xED)
        high = 0x9F;
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < count; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return count;
}

/* Validates and reverses in one pass; whether it was well-formed. */
static int reverse(const uint8_t *text, size_t size, uint8_t *end)
{
    for (size_t i = 0, count; i < size; i += count) {
        count = sequence(text + i, size - i);
        if (!count)
            return 0;
        end -= count;
        for (size_t k = 0; k < count; k++)
            end[k] = text[i + k];
    }
    return 1;
}

static void answer(const uint8_t *body, uint32_t length)
{
    size_t failed = sizeof ILL_FORMED - 1;
    reserve(&turn_output, HEADER + (length > failed ? length : failed));
    uint8_t *at = turn_output.octets + turn_output.size;
    if (echo) {
        write_header(at, REPLY, length);
        memcpy(at + HEADER, body, length);
    } else if (reverse(body, length, at + HEADER + length)) {
        write_header(at, REPLY, length);
    } else {
        length = failed;
        write_header(at, ERROR, length);
        memcpy(at + HEADER, ILL_FORMED, length);
    }
    turn_output.size += HEADER + length;
}

/* Answers the whole frames among the octets; how many octets they were, or -1 for a frame that is refused. */
static ssize_t answer_frames(const uint8_t *octets, size_t size)
{
    size_t done = 0;
    while (size - done >= HEADER) {
        uint32_t length = body_length(octets + done);
        if (octets[done] != REQUEST || length > MAX_BODY)
            return -1;
        if (size - done - HEADER < length)
            break;
        answer(octets + done + HEADER, length);
        done += HEADER + length;
    }
    return done;
}

static void watch(struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(poller, operation, connection->fd, &event))
        fail("epoll_ctl");
}

static void end(struct connection *connection)
{
    close(connection->fd);
    free(connection->input.octets);
    free(connection->unsent.octets);
    free(connection);
}

static ssize_t send_some(int fd, const uint8_t *octets, size_t size)
{
    ssize_t sent = send(fd, octets, size, MSG_NOSIGNAL);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

/* Sends what this turn has made; what does not go keeps the connection from being read until it has gone. */
static int send_turn(struct connection *connection)
{
    if (!turn_output.size)
        return 0;
    ssize_t sent = send_some(connection->fd, turn_output.octets, turn_output.size);
    if (sent < 0)
        return -1;
    if ((size_t)sent < turn_output.size) {
        append(&connection->unsent, turn_output.octets + sent, turn_output.size - sent);
        watch(connection, EPOLL_CTL_MOD, EPOLLOUT);
    }
    turn_output.size = 0;
    return 0;
}

static int send_rest(struct connection *connection)
{
    struct buffer *unsent = &connection->unsent;
    ssize_t sent = send_some(connection->fd, unsent->octets + connection->sent, unsent->size - connection->sent);
    if (sent < 0)
        return -1;
    connection->sent += sent;
    if (connection->sent == unsent->size) {
        connection->sent = unsent->size = 0;
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    }
    return 0;
}

/* How much a frame whose beginning is kept still lacks. */
static size_t missing(const struct buffer *input)
{
    if (input->size < HEADER)
        return HEADER - input->size;
    return HEADER + body_length(input->octets) - input->size;
}

/* Goes on with the frame under way, straight into its buffer. */
static int receive_rest(struct connection *connection)
{
    struct buffer *input = &connection->input;
    size_t wanted = missing(input);
    reserve(input, wanted);
    ssize_t count = recv(connection->fd, input->octets + input->size, wanted, 0);
    if (count <= 0)
        return count < 0 && errno == EAGAIN ? 0 : -1;
    input->size += count;
    ssize_t done = answer_frames(input->octets, input->size);
    if (done < 0)
        return -1;
    if (done)
        input->size = 0;
    return send_turn(connection);
}

static int receive(struct connection *connection)
{
    if (connection->input.size)
        return receive_rest(connection);
    ssize_t count = recv(connection->fd, turn_input.octets, turn_input.room, 0);
    if (count <= 0)
        return count < 0 && errno == EAGAIN ? 0 : -1;
    ssize_t done = answer_frames(turn_input.octets, count);
    if (done < 0)
        return -1;
    if (done < count)
        append(&connection->input, turn_input.octets + done, count - done);
    return send_turn(connection);
}

static void accept_all(int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection)
            fail("calloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection->fd = fd;
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int listen_anywhere(void)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096))
        fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    reserve(&turn_input, TURN);
    reserve(&turn_output, TURN);
    poller = epoll_create1(0);
    int listener = listen_anywhere();
    echo = argc > 1 && !strcmp(argv[1], "echo");
    struct epoll_event ready[256], accepting = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &accepting);
    for (;;) {
        int count = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = ready[i].data.ptr;
            if (!connection)
                accept_all(listener);
            else if ((ready[i].events & EPOLLOUT ? send_rest : receive)(connection)) {
                turn_output.size = 0;
                end(connection);
            }
        }
    }
}
