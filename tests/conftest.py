"""What every test process begins with."""

import signal

# A shell starts what it runs in the background with SIGINT ignored, and so would be the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
