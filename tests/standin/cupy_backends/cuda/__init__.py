"""cupy_backends.cuda"""
