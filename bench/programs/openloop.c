/* openloop: gRPC calls at a fixed rate whatever the server does, each with a deadline.
 *
 *     openloop PORT PATH BODY CONNECTIONS DEADLINE_MS RATE IN_FLIGHT WARM_UP_S SECONDS
 *
 * RATE > 0: an open loop. Calls begin at exponentially distributed moments, RATE a second on average, dealt
 * out to the connections in turn; a call's time is taken from the moment when it was to begin.
 * RATE = 0: a closed loop of IN_FLIGHT calls, each followed by the next, which finds a server's peak.
 *
 * A call carries its deadline as grpc-timeout, and like a gRPC client it cancels the call when that has
 * passed. The result is one line of JSON; only calls that were to begin after the warm-up count.
 *
 * cc -O2 -o openloop openloop.c -lnghttp2 -lm   (Debian: libnghttp2-dev)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STATUSES = 17, NO_STATUS = 17, BURST = 64, OUT = 1 << 16, MOST_CONNECTIONS = 1024 };

typedef struct Connection Connection;

typedef struct {
    int64_t began_ns;
    Connection *connection;
    size_t sent;
    int32_t stream; /* 0 once it is over */
    int status;     /* grpc-status, NO_STATUS until it comes */
    int counts;
} Call;

struct Connection {
    int fd;
    nghttp2_session *session;
    uint8_t out[OUT];
    size_t begin, end;
    int blocked;
};

static uint8_t *body;
static size_t body_size;
static char authority[32], timeout[32];
static const char *path;
static Connection *connections;
static int connection_count;

/* Calls in order of their beginning: all have the same time to live, so the first expires first. */
static Call *calls;
static uint64_t first, next, capacity;

static int64_t deadline_ns, measure_from_ns, in_flight;
static uint64_t sent, in_time, late, statuses[STATUSES + 1], lost;
static uint32_t *answer_us, *refusal_us;
static uint64_t answers, refusals, most_samples = 4000000;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "openloop: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

static void end_call(Call *call, int is_late) {
    if (!call->stream) return;
    call->stream = 0;
    in_flight--;
    if (!call->counts) return;
    int64_t took = now_ns() - call->began_ns;
    if (is_late || (call->status == 0 && took > deadline_ns)) {
        late++;
        return;
    }
    statuses[call->status]++;
    if (call->status == 0) {
        in_time++;
        if (answers < most_samples) answer_us[answers++] = took / 1000;
    } else if (refusals < most_samples) {
        refusal_us[refusals++] = took / 1000;
    }
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t length,
                     const uint8_t *value, size_t value_length, uint8_t flags, void *data) {
    (void)flags, (void)data, (void)value_length;
    if (length == 11 && !memcmp(name, "grpc-status", 11)) {
        Call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (call && call->stream == frame->hd.stream_id) {
            int status = atoi((const char *)value);
            call->status = status >= 0 && status < STATUSES ? status : 2;
        }
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *data) {
    (void)error, (void)data;
    Call *call = nghttp2_session_get_stream_user_data(session, stream);
    /* The place may hold another call by now. */
    if (call && call->stream == stream && call->connection->session == session) end_call(call, 0);
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t length, uint32_t *flags,
                         nghttp2_data_source *source, void *data) {
    (void)session, (void)stream, (void)data;
    Call *call = source->ptr;
    size_t left = body_size - call->sent;
    if (length > left) length = left;
    memcpy(buffer, body + call->sent, length);
    call->sent += length;
    if (call->sent == body_size) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return length;
}

#define HEADER(n, v) {(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE}

static void begin_call(Connection *connection, int64_t began) {
    if (next - first >= capacity) fail("too many calls under way");
    Call *call = &calls[next++ % capacity];
    *call = (Call){began, connection, 0, 0, NO_STATUS, began >= measure_from_ns};
    nghttp2_nv headers[] = {
        HEADER(":method", "POST"), HEADER(":scheme", "http"), HEADER(":path", path), HEADER(":authority", authority),
        HEADER("te", "trailers"), HEADER("content-type", "application/grpc"), HEADER("grpc-timeout", timeout),
    };
    nghttp2_data_provider provider = {{.ptr = call}, read_body};
    call->stream = nghttp2_submit_request(connection->session, NULL, headers, 7, &provider, call);
    if (call->counts) sent++;
    if (call->stream < 0) { /* stream ids are spent, or the server goes away */
        call->stream = 0;
        lost += call->counts;
        return;
    }
    in_flight++;
}

static void flush(Connection *connection) {
    for (;;) {
        while (connection->end < OUT / 2) {
            const uint8_t *bytes;
            ssize_t length = nghttp2_session_mem_send(connection->session, &bytes);
            if (length < 0) fail("nghttp2_session_mem_send");
            if (!length) break;
            memcpy(connection->out + connection->end, bytes, length); /* a frame is at most 16 KiB */
            connection->end += length;
        }
        if (connection->begin == connection->end) return;
        ssize_t written = write(connection->fd, connection->out + connection->begin, connection->end - connection->begin);
        if (written < 0) {
            if (errno == EAGAIN) { connection->blocked = 1; return; }
            fail("write");
        }
        connection->blocked = 0;
        connection->begin += written;
        if (connection->begin == connection->end) connection->begin = connection->end = 0;
    }
}

static void receive(Connection *connection) {
    static uint8_t buffer[1 << 18];
    ssize_t length = read(connection->fd, buffer, sizeof buffer);
    if (length == 0) { errno = 0; fail("the server closed a connection"); }
    if (length < 0) {
        if (errno == EAGAIN) return;
        fail("read");
    }
    if (nghttp2_session_mem_recv(connection->session, buffer, length) < 0) fail("nghttp2_session_mem_recv");
}

static void open_connection(Connection *connection, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    int on = 1;
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&connection->session, callbacks, connection);
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24};
    nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, &window, 1);
    nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, 1 << 26);
    nghttp2_session_callbacks_del(callbacks);
}

/* Cancel the calls whose deadline has passed, and let go of those that are over. */
static void expire(int64_t now) {
    while (first < next) {
        Call *call = &calls[first % capacity];
        if (call->stream) {
            if (now - call->began_ns < deadline_ns) return;
            nghttp2_submit_rst_stream(call->connection->session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
            nghttp2_session_set_stream_user_data(call->connection->session, call->stream, NULL);
            end_call(call, 1);
        }
        first++;
    }
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile(uint32_t *values, uint64_t count, double part) {
    return count ? values[(uint64_t)(part * (count - 1))] / 1000.0 : 0;
}

static void report(double seconds, double behind_ms) {
    qsort(answer_us, answers, sizeof *answer_us, ascending);
    qsort(refusal_us, refusals, sizeof *refusal_us, ascending);
    printf("{\"offered\": %.1f, \"goodput\": %.1f, \"late\": %.1f, \"lost\": %lu, \"behind_ms\": %.1f, ", sent / seconds,
           in_time / seconds, late / seconds, lost, behind_ms);
    printf("\"p50_ms\": %.2f, \"p90_ms\": %.2f, \"p99_ms\": %.2f, ", quantile(answer_us, answers, 0.5),
           quantile(answer_us, answers, 0.9), quantile(answer_us, answers, 0.99));
    printf("\"refusal_p50_ms\": %.2f, \"refusal_p99_ms\": %.2f, \"statuses\": {", quantile(refusal_us, refusals, 0.5),
           quantile(refusal_us, refusals, 0.99));
    const char *comma = "";
    for (int status = 0; status <= NO_STATUS; status++)
        if (statuses[status]) printf("%s\"%d\": %lu", comma, status == NO_STATUS ? -1 : status, statuses[status]), comma = ", ";
    printf("}}\n");
}

int main(int count, char **arguments) {
    if (count != 10) {
        fprintf(stderr, "usage: openloop PORT PATH BODY CONNECTIONS DEADLINE_MS RATE IN_FLIGHT WARM_UP_S SECONDS\n");
        return 2;
    }
    int port = atoi(arguments[1]);
    path = arguments[2];
    connection_count = atoi(arguments[4]);
    double deadline_ms = atof(arguments[5]), rate = atof(arguments[6]);
    int64_t together = atoll(arguments[7]);
    double warm_up = atof(arguments[8]), seconds = atof(arguments[9]);
    if (connection_count < 1 || connection_count > MOST_CONNECTIONS) fail("bad CONNECTIONS");
    FILE *file = fopen(arguments[3], "rb");
    if (!file) fail(arguments[3]);
    fseek(file, 0, SEEK_END);
    body_size = ftell(file);
    rewind(file);
    body = malloc(body_size + 1);
    if (fread(body, 1, body_size, file) != body_size) fail(arguments[3]);
    snprintf(authority, sizeof authority, "127.0.0.1:%d", port);
    snprintf(timeout, sizeof timeout, "%dm", (int)deadline_ms);
    deadline_ns = deadline_ms * 1e6;
    capacity = 1 << 16;
    double most = rate > 0 ? rate * deadline_ms / 1000 * 2 + 65536 : together * 64 + 65536;
    while (capacity < most) capacity *= 2;
    calls = calloc(capacity, sizeof *calls);
    answer_us = malloc(most_samples * sizeof *answer_us);
    refusal_us = malloc(most_samples * sizeof *refusal_us);
    connections = calloc(connection_count, sizeof *connections);
    if (!calls || !answer_us || !refusal_us || !connections) fail("memory");
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < connection_count; i++) open_connection(&connections[i], port);
    struct pollfd polled[MOST_CONNECTIONS];
    int64_t start = now_ns(), arrival = start, behind = 0;
    measure_from_ns = start + warm_up * 1e9;
    int64_t stop = measure_from_ns + seconds * 1e9;
    unsigned turn = 0;
    srand48(1);
    for (;;) {
        int64_t now = now_ns();
        if (now > stop && (first == next || now > stop + 2 * deadline_ns)) break;
        expire(now);
        for (int i = 0; i < BURST; i++) {
            Connection *connection = &connections[turn % connection_count];
            if (rate > 0) {
                if (arrival > now || arrival > stop) break;
                if (arrival >= measure_from_ns && now - arrival > behind) behind = now - arrival;
                begin_call(connection, arrival);
                arrival += -log(1 - drand48()) / rate * 1e9;
            } else {
                if (in_flight >= together || now > stop) break;
                begin_call(connection, now);
            }
            turn++;
        }
        for (int i = 0; i < connection_count; i++) {
            Connection *connection = &connections[i];
            if (!connection->blocked) flush(connection);
            polled[i] = (struct pollfd){connection->fd, POLLIN | (connection->blocked ? POLLOUT : 0), 0};
        }
        int64_t wait = rate > 0 && arrival < stop ? arrival - now_ns() : 1000000;
        struct timespec pause = {0, wait < 0 ? 0 : wait > 1000000 ? 1000000 : wait};
        if (ppoll(polled, connection_count, &pause, NULL) < 0 && errno != EINTR) fail("poll");
        for (int i = 0; i < connection_count; i++) {
            if (polled[i].revents & (POLLIN | POLLERR | POLLHUP)) receive(&connections[i]);
            if (polled[i].revents & POLLOUT) connections[i].blocked = 0;
        }
    }
    report(seconds, behind / 1e6);
    return 0;
}
