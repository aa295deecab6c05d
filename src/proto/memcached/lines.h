/* lines.h -- answers that more than one file gives, in memcached's words. */
#ifndef HF_PROTO_MEMCACHED_LINES_H
#define HF_PROTO_MEMCACHED_LINES_H

#define LINE_BAD_FORMAT "CLIENT_ERROR bad command line format"
#define LINE_NOT_NUMBER "CLIENT_ERROR cannot increment or decrement non-numeric value"
#define LINE_NO_ROOM_FOR_VALUE "SERVER_ERROR out of memory writing get response"

#endif
