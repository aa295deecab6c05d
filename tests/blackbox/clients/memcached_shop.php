<?php
// memcached_shop.php -- pages of PHP's own web server whose sessions live in memcached (session.save_handler). Driven by ../memcached_web.py.
session_start();
$page = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($page === '/visit')
    $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
$visits = $_SESSION['visits'] ?? 0;
if ($page === '/logout')
    session_destroy();
header('Content-Type: application/json');
echo json_encode(['visits' => $visits]);
