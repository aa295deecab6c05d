# memcached_perl.pl -- Perl's Cache::Memcached::Fast, unmodified: the text protocol by an implementation of its own, much of it noreply.
#
# Method: values, many at once, compare-and-set, numbers, deadlines, commands without answers. Arguments: host port [port of Redis].
#         A failed check ends with a status that is not 0.
use strict;
use warnings;
use Cache::Memcached::Fast;
use Time::HiRes qw(sleep time);

my ($host, $port) = @ARGV;
my $db = Cache::Memcached::Fast->new({servers => ["$host:$port"], namespace => 'perl:', connect_timeout => 20, io_timeout => 20,
                                      compress_threshold => 100_000, max_size => 4 << 20, utf8 => 0});

sub same {
    my ($found, $wanted, $what) = @_;
    $_ = defined $_ ? $_ : 'undef' for ($found, $wanted);
    die sprintf("%s: found '%.300s', wanted '%.300s'\n", $what, $found, $wanted) unless $found eq $wanted;
}

sub values_of_all_kinds {
    my $everything = join '', map { chr } 0 .. 255;
    for my $value ('', 'one', "\r\nEND\r\n", $everything, 'x' x 900_000, join ' ', 1 .. 60_000) {
        same(scalar $db->set('v', $value), 1, 'set');
        same(scalar $db->get('v'), $value, 'get');
    }
    $db->set('deep', {a => [1, {b => 2}]});
    same($db->get('deep')->{a}[1]{b}, 2, 'a structure');
    same(scalar $db->get('absent'), undef, 'absent');
    same(join(',', map { $_ ? 1 : 0 } $db->add('a', 1), $db->add('a', 2), $db->replace('a', 3), $db->replace('none', 3)), '1,0,1,0', 'add, replace');
    same(join(',', $db->append('a', 4), $db->prepend('a', 2), $db->get('a')), '1,1,234', 'append, prepend');
    same($db->delete('a') . ($db->delete('a') ? 1 : 0), '10', 'delete');
}

sub many {
    my %wanted = map { ("many:$_" => "value $_") } 1 .. 400;
    my $stored = $db->set_multi(map { [$_, $wanted{$_}, 100] } sort keys %wanted);
    same(scalar(grep { $_ } values %$stored), 400, 'set_multi');
    my $found = $db->get_multi('none', keys %wanted);
    same(join('|', map { "$_=$found->{$_}" } sort keys %$found), join('|', map { "$_=$wanted{$_}" } sort keys %wanted), 'get_multi');
    my $numbered = $db->gets_multi('many:1', 'many:2');
    my $late = $db->cas_multi(['many:1', $numbered->{'many:1'}[0], 'new'], ['many:2', $numbered->{'many:1'}[0] + 1e9, 'late']);
    same(($late->{'many:1'} ? 1 : 0) . ($late->{'many:2'} ? 1 : 0), '10', 'cas_multi');
    $db->set('n', 10);
    my $sums = $db->incr_multi(['n', 5], ['none', 1]);
    same($sums->{n} . '/' . ($sums->{none} ? 1 : 0), '15/0', 'incr_multi');
    same($db->decr('n', 100), '0E0', 'decr to 0');
    $db->delete_multi(keys %wanted);
    same(scalar keys %{$db->get_multi(keys %wanted)}, 0, 'delete_multi');
}

# In void context the client says noreply: nothing may be answered to any of these.
sub without_answers {
    $db->set('quiet', $_) for 1 .. 300;
    $db->set('sum', 0);
    $db->incr('sum', 2) for 1 .. 100;
    $db->append('quiet', '!');
    $db->delete('never');
    $db->nowait_push;
    same($db->get('quiet') . $db->get('sum'), '300!200', 'noreply');
    $db->delete('quiet');
    same(scalar $db->get('quiet'), undef, 'noreply delete');
}

sub deadlines {
    same($db->set('short', 'x', 1) . $db->get('short') . $db->set('touched', 'x', 1000) . $db->touch('touched', 1), '1x11', 'deadlines');
    for (my $end = time + 20; defined $db->get('short') || defined $db->get('touched'); sleep 0.05) {
        die "a key outlives its deadline\n" if time > $end;
    }
}

$db->flush_all;
values_of_all_kinds();
many();
without_answers();
deadlines();
same((values %{$db->server_versions})[0], '1.6.18', 'version');
print "Cache::Memcached::Fast: passed\n";
