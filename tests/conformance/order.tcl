# order.tcl -- the suite's client sends a command that waits, and goes on when the server has taken it.
#
# Tests also unsubscribe from everything on one connection, do not read the answers, and publish on another.
# Tests send `XREADGROUP ... BLOCK 0` on one connection and DEL on another without looking in between. A server of one thread
# serves them in the order of their arrival; of two workers, the second may be first, and then the first has nothing to wait
# for. The order that these tests mean is made here: the next command goes when the first one is blocked, or has its reply.
#
# Tests send EXEC on one connection, and a write on another that the transaction must not see, before they read its reply.
#
# Tests subscribe on one connection, its earlier replies unread, and take the right to it from the user on another.
#
# Tests change a user on one connection, and ask at once whether others of his that listen, which
# their workers end, are still listed. Where nobody listens nothing is sent: tests count commands.
#
# What goes to a replica waits for the disk, which on a busy machine may take longer than the second that tests give it: it
# gets ten.

namespace eval ::order {
    variable shows {subscribe psubscribe ssubscribe}
    variable waits {blpop brpop brpoplpush blmove blmpop bzpopmin bzpopmax bzmpop xread xreadgroup
        unsubscribe punsubscribe sunsubscribe exec}
    variable tries 500
    variable listens no     ;# somebody does
}

# Whether the system holds a reply that nobody has read: column tx_queue:rx_queue of the socket. No `update` here, which would
# run the runner's own events in the middle of a test.
proc ::order::replied {port} {
    set file [open /proc/net/tcp]
    fconfigure $file -translation binary -buffersize 65536
    set sockets [read $file]
    close $file
    set row [format {:%04X [0-9A-F]+:[0-9A-F]+ 01 [0-9A-F]+:([0-9A-F]+)} $port]
    return [expr {[regexp $row $sockets all unread] && $unread ne "00000000"}]
}

# Whether the server lists the connection so; asked on a connection of its own, since tests count those that they know.
proc ::order::listed {port address so} {
    if {[catch {socket {*}$address} asked]} {return 0}
    fconfigure $asked -translation binary
    puts -nonewline $asked "CLIENT LIST\r\n"
    flush $asked
    set length [string range [gets $asked] 1 end-1]
    set list [expr {[string is integer -strict $length] ? [read $asked $length] : ""}]
    close $asked
    return [regexp "addr=\\S+:$port .* $so" [lsearch -inline [split $list "\n"] "*:$port laddr*"]]
}

# Bounded: a command before it may still be running, or this user may not ask.
proc ::order::wait_until_taken {fd address} {
    variable tries
    set port [lindex [fconfigure $fd -sockname] 2]
    for {set i 0} {$i < $tries} {incr i} {
        if {[::order::listed $port $address {flags=\w*b}] || [::order::replied $port]} {return}
        after 1
    }
}

proc ::order::read_stream {fd} {
    for {set i 0} {$i < 10} {incr i} {
        set words [::order::read_stream_once $fd]
        if {$words ne ""} {break}
    }
    return $words
}

# The suite defines it after it has read this file.
proc ::order::be_patient {} {
    if {[info commands ::order::read_stream_once] eq "" && [info commands ::read_from_replication_stream] ne ""} {
        rename ::read_from_replication_stream ::order::read_stream_once
        interp alias {} ::read_from_replication_stream {} ::order::read_stream
    }
}

# Replies to what was sent before may be unread: the command itself must have run.
proc ::order::wait_until_run {fd address method} {
    variable tries
    set port [lindex [fconfigure $fd -sockname] 2]
    for {set i 0} {$i < $tries && ![::order::listed $port $address "cmd=$method "]} {incr i} {after 1}
}

# New connections go to the workers in turn: whose second PING is answered, its worker has ended a step that began after the change.
proc ::order::wait_until_ended {address} {
    for {set i 0} {$i < 8} {incr i} {
        if {[catch {socket {*}$address} asked]} {return}
        fconfigure $asked -translation binary -buffering none
        foreach turn {1 2} {
            puts -nonewline $asked "PING\r\n"
            gets $asked
        }
        close $asked
    }
}

rename ::redis::__dispatch__raw__ ::order::dispatch
proc ::redis::__dispatch__raw__ {id method argv} {
    ::order::be_patient
    set result [uplevel 1 [list ::order::dispatch $id $method $argv]]
    if {[string tolower $method] in $::order::waits && $::redis::deferred($id) && $::redis::blocking($id)} {
        ::order::wait_until_taken $::redis::fd($id) $::redis::addr($id)
    } elseif {[string tolower $method] in $::order::shows && $::redis::deferred($id) && $::redis::blocking($id)} {
        set ::order::listens yes
        ::order::wait_until_run $::redis::fd($id) $::redis::addr($id) [string tolower $method]
    } elseif {$::order::listens && [string tolower $method] eq "acl" && [string tolower [lindex $argv 0]] in {setuser deluser load} && !$::redis::deferred($id)} {
        ::order::wait_until_ended $::redis::addr($id)
    }
    return $result
}
