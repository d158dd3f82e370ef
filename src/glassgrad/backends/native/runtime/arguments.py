"""The arguments of compiled code: an array of 64-bit words, written by the executable and read by ``run``.

0 number of steps   1 rows (int32 [steps, batch])   2 row mask (bytes [steps, batch])   3 number of the first step
4 address of usleep, or 0   5 kernel   6 units   7 tickets   (5 to 7 describe the offered kernel)
8 the offer: number of the kernel << 32 | first free ticket << 16 | end of the free tickets
9 offsets of the kernel's buffers   10 row numbers of the current batch   11 probed steps (bytes [steps])
12 row numbers of the next batch   13 number of threads that ``run_with_helpers`` starts
14 address of pthread_create   15 address of pthread_join   16 number of finished tickets
24 ... one array per data input; then one array per hyperparameter; one per output; one per probe
(Words 8, 16 and 24 each begin a cache line.)

``shuffle``, which draws the row orders of epochs, takes seven words:

0 address of the result (int32 [epochs, length])   1 number of rows   2 length (rows and padding)   3 seed
4 stream   5 first epoch   6 number of epochs
"""

from __future__ import annotations

STEPS, ROWS, VALID, FIRST_STEP, SLEEP, KERNEL, UNITS, TICKETS = range(8)
WORD, PLACES, BATCH_ROWS, PROBED, NEXT_ROWS, DONE, ARRAYS = 8, 9, 10, 11, 12, 16, 24
HELPERS, CREATE, JOIN = 13, 14, 15
CLOSED = -1  # the offer that tells helpers to stop
ORDER, ORDER_ROWS, LENGTH, KEY, STREAM, EPOCH, EPOCHS = range(7)
ORDER_SLACK = 16  # int32 elements that ``shuffle`` may write past the end of the last order

ALIGNMENT = 64  # bytes: the arena and every buffer in it begin at a cache line
TICKETS_PER_KERNEL = 16  # the largest number of tickets of a shared kernel, and so of useful threads
