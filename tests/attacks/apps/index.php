<?php
// Tells what PHP took a request for, as front controllers read it: in its answer, and in a datagram to whoever judges.
$target = $_SERVER['REQUEST_URI'] ?? '';
$parsed = parse_url($target, PHP_URL_PATH);
$identity = [];
foreach (['SUBJECT', 'ROLES', 'SCOPES', 'SESSION'] as $name) {
    $identity[] = $_SERVER["HTTP_X_AUTH_$name"] ?? '';
}
$record = [
    'backend' => 'php',
    'case' => $_SERVER['HTTP_X_CASE'] ?? '',
    'method' => $_SERVER['REQUEST_METHOD'],
    'target' => $target,
    'paths' => [
        'DOCUMENT_URI' => $_SERVER['DOCUMENT_URI'] ?? '',
        'REQUEST_URI' => rawurldecode(explode('?', $target)[0]),
        'parse_url' => rawurldecode(is_string($parsed) ? $parsed : ''),
    ],
    'identity' => ['_SERVER' => $identity],
    'cookie' => $_SERVER['HTTP_COOKIE'] ?? '',
    'authorization' => $_SERVER['HTTP_AUTHORIZATION'] ?? '',
];
$text = json_encode($record, JSON_INVALID_UTF8_SUBSTITUTE);
$out = stream_socket_client('udp://127.0.0.1:' . $_SERVER['COLLECTOR']);
fwrite($out, $text);
header('Content-Type: application/json');
header('X-Echo: ' . preg_replace('/[^!-~]/', '?', $target));
echo $text;
