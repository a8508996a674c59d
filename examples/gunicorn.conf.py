"""How gunicorn serves the shop; it finds this file by itself when it is started in this folder."""

workers = 2
threads = 4
keepalive = 30
control_socket_disable = True
